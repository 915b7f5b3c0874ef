//! The machine that the program runs on.

/// The profile of onnxruntime on this machine, as far as its features tell.
#[cfg(target_arch = "x86_64")]
#[allow(clippy::unnecessary_wraps, reason = "other machines have none")]
pub fn profile() -> Option<&'static str> {
    let vnni = is_x86_feature_detected!("avx512vnni") || is_x86_feature_detected!("avxvnni");
    Some(if vnni { "x86-vnni" } else { "x86-avx2" })
}

/// The profile of onnxruntime on this machine, as far as its features tell.
#[cfg(target_arch = "aarch64")]
#[allow(clippy::unnecessary_wraps, reason = "other machines have none")]
pub fn profile() -> Option<&'static str> {
    let dot = std::arch::is_aarch64_feature_detected!("dotprod");
    Some(if dot { "arm64-dotprod" } else { "arm64-nodot" })
}

/// Other machines have no profile.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub fn profile() -> Option<&'static str> {
    None
}
