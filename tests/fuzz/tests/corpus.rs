//! Checks the corpus of each kind of input, and mutations of it by a seeded generator. The environment variable
//! `FLOWGATE_FUZZ_RUNS` sets how many mutations are checked.

use std::{env, fs, path::Path};

use flowgate_fuzz::TARGETS;

/// Mutations for each kind of input: all kinds together take a few seconds without optimization.
const DEFAULT_RUNS: usize = 3000;

/// The longest input that is made.
const MAX_BYTES: usize = 8 << 10;

/// A generator of numbers (xorshift64*), the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        usize::try_from(number).expect("32 bits") % limit.max(1)
    }

    fn byte(&mut self) -> u8 {
        const EDGES: &[u8] = &[0, 1, 0x7e, 0x7f, 0x80, 0xfe, 0xff, b'"', b'{', b'[', b'\\'];
        match self.below(3) {
            0 => EDGES[self.below(EDGES.len())],
            _ => u8::try_from(self.below(256)).expect("a byte"),
        }
    }

    /// Returns an input that differs from `input` in a few places, some of which come from `other`.
    fn near(&mut self, input: &[u8], other: &[u8]) -> Vec<u8> {
        let mut input = input.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(input.len() + 1);
            let end = (at + 1 + self.below(8)).min(input.len());
            match self.below(6) {
                0 if at < input.len() => input[at] = self.byte(),
                1 if at < input.len() => input[at] ^= 1 << self.below(8),
                2 => input.insert(at, self.byte()),
                3 => drop(input.drain(at..end)),
                4 => {
                    let repeated = input[at..end].repeat(1 + self.below(40));
                    input.splice(at..at, repeated);
                }
                _ => {
                    let from = self.below(other.len() + 1);
                    input.truncate(at);
                    input.extend_from_slice(&other[from..]);
                }
            }
        }
        input.truncate(MAX_BYTES);
        input
    }
}

/// Shows the input at which a check panics.
struct Shown<'a>(&'static str, &'a [u8]);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}: {}", self.0, self.1.escape_ascii());
        }
    }
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut files: Vec<_> = fs::read_dir(directory.join(target))
        .expect("a corpus")
        .map(|file| file.expect("a file").path())
        .collect();
    files.sort();
    let inputs = files.iter().map(|path| fs::read(path).expect("readable"));
    inputs.collect()
}

#[test]
fn every_input_of_the_corpus_and_near_it_holds() {
    let runs = env::var("FLOWGATE_FUZZ_RUNS").map(|runs| runs.parse().expect("a number"));
    let runs = runs.unwrap_or(DEFAULT_RUNS);
    for (target, check) in TARGETS {
        let corpus = corpus(target);
        assert!(!corpus.is_empty(), "{target} has no corpus");
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let checked = |input: &[u8]| {
            let shown = Shown(target, input);
            check(shown.1);
        };
        corpus.iter().for_each(|input| checked(input));
        for _ in 0..runs {
            let [input, other] = [(); 2].map(|()| &corpus[random.below(corpus.len())]);
            checked(&random.near(input, other));
        }
    }
}
