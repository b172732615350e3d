//! How much of a prompt a step may compute while others decode. Pure: numbers in, a number out.
//!
//! A prompt's tokens make the step that carries them longer for everybody in it. So the step's time is watched: what it takes to
//! decode alone, and what each prompt token adds; one prompt gets what keeps a step within a fixed multiple of decoding alone.
//! Where several wait, they wait for each other too, and all are served sooner by few long steps than by many short ones: their
//! share grows with the cube of their number (measured: the square took longer and disturbed more steps), for a few steps, in
//! which short prompts come to their ends. Those that take longer are bounded like one, only less: else eight long prompts
//! stretch every twentieth gap of the streams beside them to half a second (measured: 550 ms, and 120 so, for 4 % of the throughput).
//! What is not known is measured: a step now and then decodes only.

/// A step with tokens of one prompt takes at most so many times what one without takes. Well below 2: steps vary, and towards the end
/// of a long prompt even the least of it costs more (at 1.6 the median beside 4,000 tokens was 2.06).
const LONGEST: f64 = 1.4;
/// The same with tokens of several, once they have taken more than so many steps.
const LONGEST_CROWDED: f64 = 3.0;
const CROWDED_STEPS: u32 = 6;
/// Prompt tokens of a step while their cost is not known.
const FIRST_TOKENS: usize = 16;
/// A prompt always gets so many, however slow: else it would never come to its end.
const LEAST_TOKENS: usize = 4;
/// Steps after which what decoding alone takes is measured again.
const STALE_STEPS: u32 = 64;
/// Weight of a new measurement.
const WEIGHT: f64 = 0.3;

/// What steps take on this machine, as far as it is known.
#[derive(Debug, Default)]
pub struct Pace {
    /// A step that only decodes.
    decode: Option<Decode>,
    /// Microseconds that a prompt token adds.
    per_token: Option<f64>,
    /// Steps with tokens of prompts beside decoding since no more than one waited.
    crowded: u32,
}

#[derive(Debug)]
struct Decode {
    rows: usize,
    micros: f64,
    /// Steps since.
    age: u32,
}

impl Pace {
    /// Prompt tokens for a step beside `decoding` rows that decode, where `prompts` are not computed to their end; at most
    /// `most`, and 0 only where some decode.
    pub fn prefill_tokens(&mut self, decoding: usize, prompts: usize, most: usize) -> usize {
        if prompts <= 1 {
            self.crowded = 0;
        }
        if decoding == 0 {
            return most;
        }
        let known = self.decode.as_ref().filter(|decode| decode.tells_of(decoding));
        let tokens = match (known, self.per_token) {
            (None, _) => 0,
            (Some(_), None) => FIRST_TOKENS,
            (Some(decode), Some(per_token)) => {
                let share = (LONGEST - 1.0) * (prompts.max(1) as f64).powi(3);
                let bound = if self.crowded < CROWDED_STEPS { f64::MAX } else { LONGEST_CROWDED - 1.0 };
                let share = share.min(bound);
                let room = decode.micros * share / per_token.max(1e-3);
                (room as usize).max(LEAST_TOKENS)
            }
        };
        tokens.min(most)
    }

    /// A step with `decoding` rows and `prefilled` prompt tokens took so long.
    pub fn observe(&mut self, decoding: usize, prefilled: usize, micros: f64) {
        if let Some(decode) = &mut self.decode {
            decode.age = decode.age.saturating_add(1);
        }
        self.crowded += u32::from(decoding > 0 && prefilled > 0);
        match (decoding, prefilled) {
            (0, 0) => {}
            (_, 0) => {
                let known = self.decode.as_ref().filter(|decode| decode.rows == decoding);
                let micros = known.map_or(micros, |known| blend(known.micros, micros));
                self.decode = Some(Decode { rows: decoding, micros, age: 0 });
            }
            _ => {
                let alone = self.decode.as_ref().filter(|_| decoding > 0).map_or(0.0, |decode| decode.micros);
                // Where decoding took longer than it used to, the prompt still cost something.
                let own = (micros - alone).max(micros * 0.05) / prefilled as f64;
                // What costs more than was thought is believed at once, what costs less little by little.
                let known = self.per_token.filter(|known| *known > own);
                self.per_token = Some(known.map_or(own, |known| blend(known, own)));
            }
        }
    }
}

impl Decode {
    /// Whether it still says what decoding so many rows takes.
    fn tells_of(&self, rows: usize) -> bool {
        self.age <= STALE_STEPS && rows <= 2 * self.rows && self.rows <= 2 * rows
    }
}

fn blend(known: f64, new: f64) -> f64 {
    known + WEIGHT * (new - known)
}

#[cfg(test)]
mod tests;
