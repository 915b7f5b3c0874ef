//! The arithmetic of the integer kernels of a target.

/// How a target computes sums of products of 8-bit codes. onnxruntime is what these were read off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    /// In 32 bits: x86 CPUs with VNNI, and onnxruntime elsewhere with the session option `session.x64quantprecision`.
    Exact,
    /// u8 × s8 in pairs along the reduction that saturate at 16 bits, everything else in 32 bits: x86 CPUs with AVX2 or
    /// AVX-512 and without VNNI. See [`math::saturation`](crate::math::saturation) for the pairs.
    Avx2Pairs,
}
