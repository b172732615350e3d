//! Regular expressions of the numbers between two bounds, in decimal digits. Pure.

use llguidance::derivre::RegexAst;

use super::numbers::Bound;

/// Digits after the point of a number with an exponent, at most. With 15 digits in all, different texts are different 64-bit
/// floats, so that none reaches an exclusive bound by rounding.
const FRACTION: usize = 14;
/// The smallest and largest exponents of such numbers. All are normal 64-bit floats.
const EXPONENTS: (i32, i32) = (-307, 307);

/// A positive number in scientific notation: its digits, the last of which is not zero, and its exponent.
struct Scientific {
    digits: Vec<u8>,
    exponent: i32,
}

/// Numbers with an exponent, such as `1.5e-7`, between two bounds. `None` if there are none.
pub(super) fn scientific(low: Bound<f64>, high: Bound<f64>) -> Option<RegexAst> {
    let opposite = |bound: Bound<f64>| bound.map(|(value, inclusive)| (-value, inclusive));
    let positive = positive(low, high);
    let negative = self::positive(opposite(high), opposite(low))
        .map(|numbers| RegexAst::Concat(vec![RegexAst::Literal("-".into()), numbers]));
    let both: Vec<RegexAst> = positive.into_iter().chain(negative).collect();
    (!both.is_empty()).then_some(RegexAst::Or(both))
}

/// The positive numbers with an exponent between two bounds.
fn positive(low: Bound<f64>, high: Bound<f64>) -> Option<RegexAst> {
    if high.is_some_and(|(high, _)| high <= 0.0) {
        return None;
    }
    let low = low.filter(|(low, _)| *low > 0.0).map(|(low, inclusive)| (Scientific::new(low), inclusive));
    let high = high.map(|(high, inclusive)| (Scientific::new(high), inclusive));
    let first = low.as_ref().map_or(EXPONENTS.0 - 1, |(low, _)| low.exponent);
    let last = high.as_ref().map_or(EXPONENTS.1 + 1, |(high, _)| high.exponent);
    let mut all = Vec::new();
    let mut add = |mantissa: RegexAst, from: i32, to: i32| {
        let (from, to) = (from.max(EXPONENTS.0), to.min(EXPONENTS.1));
        if from <= to {
            all.push(RegexAst::Concat(vec![mantissa, exponents(from, to)]));
        }
    };
    let least = low.map(|(low, inclusive)| RegexAst::Regex(at_least(&low.digits, inclusive)));
    let bounded = high.is_some();
    let most = high.and_then(|(high, inclusive)| at_most(&high.digits, inclusive)).map(RegexAst::Regex);
    if first < last {
        if let Some(least) = least {
            add(least, first, first);
        }
        add(RegexAst::Regex(format!("[1-9]{}", rest(1))), first + 1, last - 1);
        if let Some(most) = most {
            add(most, last, last);
        }
    } else if most.is_some() || !bounded {
        add(RegexAst::And(least.into_iter().chain(most).collect()), first, last);
    }
    (!all.is_empty()).then_some(RegexAst::Or(all))
}

impl Scientific {
    fn new(value: f64) -> Self {
        let text = format!("{value:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let digits = mantissa.bytes().filter(u8::is_ascii_digit).collect();
        Self { digits, exponent: exponent.parse().unwrap_or(0) }
    }
}

/// Any text after the first `count` digits of a mantissa.
fn rest(count: usize) -> String {
    if count == 1 {
        return format!(r"(\.[0-9]{{1,{FRACTION}}})?");
    }
    format!("[0-9]{{0,{}}}", (FRACTION + 1).saturating_sub(count))
}

/// The first digits of a mantissa, and the point if another digit follows.
fn prefix(digits: &[u8], follows: bool) -> String {
    let mut text: String = digits.iter().map(|digit| char::from(*digit)).collect();
    if text.len() > 1 || text.len() == 1 && follows {
        text.insert_str(1, r"\.");
    }
    text
}

/// Mantissas of at least `digits`, or greater ones.
fn at_least(digits: &[u8], inclusive: bool) -> String {
    let mut all = Vec::new();
    for (at, digit) in digits.iter().enumerate().filter(|(_, digit)| **digit < b'9') {
        let next = char::from(digit + 1);
        all.push(format!("{}[{next}-9]{}", prefix(&digits[..at], true), rest(at + 1)));
    }
    if inclusive {
        all.push(format!("{}{}", prefix(digits, false), rest(digits.len())));
    } else if digits.len() <= FRACTION {
        all.push(format!("{}[0-9]{{0,{}}}[1-9]", prefix(digits, true), FRACTION - digits.len()));
    }
    format!("({})", all.join("|"))
}

/// Mantissas of at most `digits`, or smaller ones. `None` if there are none.
fn at_most(digits: &[u8], inclusive: bool) -> Option<String> {
    let mut all = Vec::new();
    for (at, digit) in digits.iter().enumerate() {
        let smallest = if at == 0 { b'1' } else { b'0' };
        if *digit > smallest {
            let (from, to) = (char::from(smallest), char::from(digit - 1));
            all.push(format!("{}[{from}-{to}]{}", prefix(&digits[..at], true), rest(at + 1)));
        }
        if at > 0 {
            all.push(prefix(&digits[..at], false));
        }
    }
    if inclusive {
        let zeros = if digits.len() == 1 { r"(\.0{1,14})?" } else { "0{0,14}" };
        all.push(format!("{}{zeros}", prefix(digits, false)));
    }
    (!all.is_empty()).then(|| format!("({})", all.join("|")))
}

/// The exponents from `from` to `to`. Python writes two digits.
fn exponents(from: i32, to: i32) -> RegexAst {
    let mut all = Vec::new();
    if to >= 0 {
        let numbers = natural(i128::from(from.max(0)), Some(i128::from(to)));
        all.push(RegexAst::Concat(vec![RegexAst::Regex("[eE][+]?0?".into()), numbers]));
    }
    if from < 0 {
        let numbers = natural(i128::from((-to).max(1)), Some(i128::from(-from)));
        all.push(RegexAst::Concat(vec![RegexAst::Regex("[eE]-0?".into()), numbers]));
    }
    RegexAst::Or(all)
}

/// The integers between two bounds.
pub(super) fn integer(low: Option<i128>, high: Option<i128>) -> RegexAst {
    let mut all = Vec::new();
    if high.is_none_or(|high| high >= 0) {
        all.push(natural(low.unwrap_or(0).max(0), high));
    }
    if low.is_none_or(|low| low < 0) {
        let numbers = natural(high.map_or(1, |high| (-high).max(1)), low.map(|low| -low));
        all.push(RegexAst::Concat(vec![RegexAst::Literal("-".into()), numbers]));
    }
    RegexAst::Or(all)
}

/// The natural numbers between two bounds, the lower of which is not negative.
fn natural(low: i128, high: Option<i128>) -> RegexAst {
    let digits = low.to_string().into_bytes();
    let length = digits.len();
    let mut least = vec![format!("[1-9][0-9]{{{length},}}"), low.to_string()];
    for (at, digit) in digits.iter().enumerate().filter(|(_, digit)| **digit < b'9') {
        let (before, next) = (String::from_utf8_lossy(&digits[..at]), char::from(digit + 1));
        least.push(format!("{before}[{next}-9][0-9]{{{}}}", length - at - 1));
    }
    let least = RegexAst::Regex(format!("({})", least.join("|")));
    let Some(high) = high else { return least };
    let digits = high.to_string().into_bytes();
    let length = digits.len();
    let mut most = vec![high.to_string()];
    if length > 1 {
        most.push(format!("0|[1-9][0-9]{{0,{}}}", length - 2));
    }
    for (at, digit) in digits.iter().enumerate() {
        let smallest = if at == 0 && length > 1 { b'1' } else { b'0' };
        if *digit > smallest {
            let (before, from) = (String::from_utf8_lossy(&digits[..at]), char::from(smallest));
            most.push(format!("{before}[{from}-{}][0-9]{{{}}}", char::from(digit - 1), length - at - 1));
        }
    }
    RegexAst::And(vec![least, RegexAst::Regex(format!("({})", most.join("|")))])
}
