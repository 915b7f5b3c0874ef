//! Numbers without graphs: linear algebra, and the arithmetic of quantization.

pub mod compensate;
pub mod descent;
pub mod histogram;
pub mod linalg;
pub mod regression;
pub mod saturation;
pub mod solve;
pub mod spectrum;
pub mod symmetric;
pub mod zeros;
