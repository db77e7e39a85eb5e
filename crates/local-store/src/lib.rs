//! local-store
