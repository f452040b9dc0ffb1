//! MT19937 (Matsumoto and Nishimura, 1998), the generator of Python and NumPy.

const WORDS: usize = 624;
const MIDDLE: usize = 397;

/// State of the generator, and the index of its next word.
#[derive(Clone)]
pub(crate) struct MersenneTwister {
    state: [u32; WORDS],
    next: usize,
}

impl MersenneTwister {
    /// `init_genrand` of Matsumoto and Nishimura's `mt19937ar.c`.
    pub(crate) fn from_seed(seed: u32) -> Self {
        let mut state = [seed; WORDS];
        for i in 1..WORDS {
            let before = state[i - 1];
            state[i] = (before ^ before >> 30).wrapping_mul(1_812_433_253).wrapping_add(i as u32);
        }
        Self { state, next: WORDS }
    }

    /// `init_by_array` of the same file.
    pub(crate) fn from_key(key: &[u32]) -> Self {
        let Self { mut state, .. } = Self::from_seed(19_650_218);
        let mut at = 1;
        let after = |state: &mut [u32; WORDS], at: usize| {
            if at + 1 < WORDS {
                return at + 1;
            }
            state[0] = state[WORDS - 1];
            1
        };
        let mixed = |state: &[u32; WORDS], at: usize, factor: u32| {
            let before = state[at - 1];
            state[at] ^ (before ^ before >> 30).wrapping_mul(factor)
        };
        for j in (0..key.len()).cycle().take(WORDS.max(key.len())) {
            state[at] = mixed(&state, at, 1_664_525).wrapping_add(key[j]).wrapping_add(j as u32);
            at = after(&mut state, at);
        }
        for _ in 1..WORDS {
            state[at] = mixed(&state, at, 1_566_083_941).wrapping_sub(at as u32);
            at = after(&mut state, at);
        }
        state[0] = 1 << 31;
        Self { state, next: WORDS }
    }

    /// Returns the next 32 bits.
    pub(crate) fn word(&mut self) -> u32 {
        if self.next == WORDS {
            self.twist();
        }
        let word = self.state[self.next];
        self.next += 1;
        let word = word ^ word >> 11;
        let word = word ^ word << 7 & 0x9d2c_5680;
        let word = word ^ word << 15 & 0xefc6_0000;
        word ^ word >> 18
    }

    /// Computes the next 624 words of the state.
    fn twist(&mut self) {
        for i in 0..WORDS {
            let joined = self.state[i] & 1 << 31 | self.state[(i + 1) % WORDS] & !(1 << 31);
            let odd = if joined & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + MIDDLE) % WORDS] ^ joined >> 1 ^ odd;
        }
        self.next = 0;
    }
}
