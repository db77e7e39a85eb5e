//! user-feed
