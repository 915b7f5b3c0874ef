//! A hash of contents, for file names. Stable for good, fast, and no protection against forgery.

/// Odd multipliers; one for each lane, so that swapped words change the result.
const FACTORS: [u64; 4] =
    [0x9e6f_3b1d_52c8_a7e5, 0xc3a5_c85c_97cb_3127, 0xb492_b66f_be98_f273, 0x8d2c_64f1_e9a3_5b4f];

/// The state of hashing a stream of bytes.
pub(super) struct ContentHash {
    lanes: [u64; 4],
    /// The block that is not full yet.
    tail: [u8; 32],
    filled: usize,
    total: u64,
}

impl ContentHash {
    pub(super) fn new() -> Self {
        Self { lanes: FACTORS, tail: [0; 32], filled: 0, total: 0 }
    }

    /// Takes in more bytes. How a stream is cut into pieces makes no difference.
    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        self.total = self.total.wrapping_add(bytes.len() as u64);
        if self.filled > 0 {
            let (head, rest) = bytes.split_at(bytes.len().min(32 - self.filled));
            self.fill(head);
            bytes = rest;
            if self.filled < 32 {
                return;
            }
            let block = self.tail;
            self.block(&block);
            self.filled = 0;
        }
        let mut blocks = bytes.chunks_exact(32);
        for block in &mut blocks {
            self.block(block);
        }
        self.fill(blocks.remainder());
    }

    fn fill(&mut self, bytes: &[u8]) {
        for (to, &from) in self.tail.iter_mut().skip(self.filled).zip(bytes) {
            *to = from;
        }
        self.filled += bytes.len();
    }

    fn block(&mut self, block: &[u8]) {
        for ((lane, factor), word) in self.lanes.iter_mut().zip(FACTORS).zip(block.chunks_exact(8)) {
            let mut le = [0; 8];
            le.copy_from_slice(word);
            *lane = mix(*lane ^ u64::from_le_bytes(le), factor);
        }
    }

    /// The hash of all bytes so far.
    pub(super) fn finish(mut self) -> u64 {
        let mut last = [0; 32];
        for (to, &from) in last.iter_mut().zip(&self.tail).take(self.filled) {
            *to = from;
        }
        self.block(&last);
        let folded = self
            .lanes
            .iter()
            .zip(FACTORS)
            .fold(self.total, |hash, (&lane, factor)| mix(hash.rotate_left(17) ^ lane, factor));
        mix(mix(folded, FACTORS[1]), FACTORS[3])
    }
}

/// Each step can be undone, so no two states fall together within a lane.
fn mix(state: u64, factor: u64) -> u64 {
    let state = state.wrapping_mul(factor);
    state ^ state >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(pieces: &[&[u8]]) -> u64 {
        let mut hash = ContentHash::new();
        for piece in pieces {
            hash.update(piece);
        }
        hash.finish()
    }

    #[test]
    fn pieces_do_not_matter_and_every_byte_does() {
        let bytes: Vec<u8> = (0..1000u32).map(|x| (x * 7 % 251) as u8).collect();
        let whole = hash(&[&bytes]);
        for cut in [0, 1, 31, 32, 33, 999] {
            assert_eq!(whole, hash(&[&bytes[..cut], &bytes[cut..]]), "{cut}");
            let mut other = bytes.clone();
            other[cut] ^= 0x80;
            assert_ne!(whole, hash(&[&other]), "{cut}");
        }
        assert_ne!(hash(&[&[0; 5]]), hash(&[&[0; 6]]));
        assert_ne!(hash(&[&[0; 32]]), hash(&[&[0; 64]]));
    }

    #[test]
    fn the_hash_is_the_same_for_good() {
        assert_eq!(format!("{:016x}", hash(&[b"onnxpress"])), "eff982b18c3df8f1");
    }
}
