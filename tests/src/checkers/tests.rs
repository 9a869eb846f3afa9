//! Each checker finds what it is for.
