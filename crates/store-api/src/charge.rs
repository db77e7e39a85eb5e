use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign};

/// Request units, as the store reported them.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct RequestCharge(f64);

impl RequestCharge {
    pub const ZERO: Self = Self(0.0);

    pub fn new(units: f64) -> Self {
        Self(units)
    }

    pub fn units(self) -> f64 {
        self.0
    }
}

impl Add for RequestCharge {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl AddAssign for RequestCharge {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl Sum for RequestCharge {
    fn sum<I: Iterator<Item = Self>>(charges: I) -> Self {
        charges.fold(Self::ZERO, Self::add)
    }
}

impl fmt::Display for RequestCharge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} RU", self.0)
    }
}
