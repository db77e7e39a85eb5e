//! System tests: whole parts together, and what must stay true of the code itself.

mod architecture;
