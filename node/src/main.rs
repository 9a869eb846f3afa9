//! relais
fn main(){}
