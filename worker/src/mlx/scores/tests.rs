use super::*;

/// Of several places the likeliest alone once ended the process.
#[test]
fn the_likeliest_are_told_of_each_place_however_many() {
    let logprobs = Array::from_slice(&[-1.0f32, -3.0, -2.0, -6.0, -5.0, -4.0], &[2, 3]);
    let all = [vec![(0, -1.0), (2, -2.0), (1, -3.0)], vec![(2, -4.0), (1, -5.0), (0, -6.0)]];
    for top in 0..=3 {
        let told = Asked { from: vec![0, 1], top }.likeliest(&logprobs).unwrap();
        let expected: Vec<Vec<(u32, f32)>> = all.iter().map(|place| place[..top].to_vec()).collect();
        assert_eq!(told, expected);
    }
}
