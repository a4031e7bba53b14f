//! Long series, made short without changing the picture.
//!
//! A curve of 100,000 points over a plot of a few hundred pixels draws, in each column of pixels, a bar from
//! its least to its largest value. So of each bucket of neighbours in x the first, the least, the largest and
//! the last are kept, and one gap if there is any. This is "M4" of Jugel et al. 2014, which draws the same
//! pixels as all points do where a bucket is a pixel wide.

/// The indices of the points to draw, rising. `points` are positions, NaN where there is a gap.
pub(super) fn curve(points: &[(f64, f64)], buckets: usize) -> Vec<usize> {
    let n = points.len();
    if n <= 4 * buckets {
        return (0..n).collect();
    }
    let kept = by_bucket(points, |_, x| (x * buckets as f64) as i64);
    if kept.len() <= 8 * buckets {
        return kept;
    }
    // x runs back and forth: neighbours in the list then make the buckets
    by_bucket(points, |i, _| (i * buckets / n) as i64)
}

fn by_bucket(points: &[(f64, f64)], bucket: impl Fn(usize, f64) -> i64) -> Vec<usize> {
    let mut kept = Vec::new();
    let mut start = 0;
    while start < points.len() {
        let here = bucket(start, points[start].0);
        let mut end = start + 1;
        while end < points.len() && bucket(end, points[end].0) == here {
            end += 1;
        }
        let (mut least, mut most, mut gap) = (None, None, None);
        for (i, (x, y)) in points.iter().enumerate().take(end).skip(start) {
            if x.is_nan() || y.is_nan() {
                gap.get_or_insert(i);
                continue;
            }
            if least.is_none_or(|j: usize| *y < points[j].1) {
                least = Some(i);
            }
            if most.is_none_or(|j: usize| *y > points[j].1) {
                most = Some(i);
            }
        }
        let mut group: Vec<usize> =
            [Some(start), least, most, gap, Some(end - 1)].into_iter().flatten().collect();
        group.sort_unstable();
        group.dedup();
        kept.append(&mut group);
        start = end;
    }
    kept
}

/// The indices of at most `most` points of a cloud: three in four evenly through the list, which keeps it as
/// dense here and thin there as it is, and the first point in each cell of a grid, which keeps its outline and
/// the points far from all others. Points without a place, or outside the plot, are left out.
pub(super) fn cloud(points: &[(f64, f64)], most: usize) -> Vec<usize> {
    let inside = |p: &(f64, f64)| (0.0..=1.0).contains(&p.0) && (0.0..=1.0).contains(&p.1);
    let placed: Vec<usize> = (0..points.len()).filter(|&i| inside(&points[i])).collect();
    if placed.len() <= most {
        return placed;
    }
    let even = most / 4 * 3;
    let mut kept: Vec<usize> = (0..even).map(|k| placed[k * placed.len() / even]).collect();
    let side = (libm::sqrt((most - even) as f64) as usize).saturating_sub(1);
    let mut taken = vec![false; (side + 1) * (side + 1)];
    let cell = |i: usize| {
        let (x, y) = points[i];
        (y * side as f64) as usize * (side + 1) + (x * side as f64) as usize
    };
    kept.iter().for_each(|&i| taken[cell(i)] = true);
    kept.extend(placed.iter().filter(|&&i| !std::mem::replace(&mut taken[cell(i)], true)));
    kept.sort_unstable();
    kept
}

/// The indices of the points of a path that moves: those nearer than `apart` to the last one kept are left
/// out, the first and the last are kept. The path ends at its first gap.
pub(super) fn path(points: &[(f64, f64)], most: usize) -> Vec<usize> {
    let n = points.iter().position(|p| p.0.is_nan() || p.1.is_nan()).unwrap_or(points.len());
    let mut apart = 0.001;
    loop {
        let mut kept: Vec<usize> = Vec::new();
        for i in 0..n {
            let far = kept.last().is_none_or(|&j| {
                let (dx, dy) = (points[i].0 - points[j].0, points[i].1 - points[j].1);
                dx.abs().max(dy.abs()) > apart
            });
            if far || n <= 200 {
                kept.push(i);
            }
        }
        if n > 0 && kept.last() != Some(&(n - 1)) {
            kept.push(n - 1);
        }
        if kept.len() <= most.max(201) {
            return kept;
        }
        apart *= 2.0;
        if apart > 4.0 {
            // it leaps across the plot at every step: the first steps tell as much as all
            kept.truncate(most);
            return kept;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noisy(n: usize) -> Vec<(f64, f64)> {
        let wave = |i: usize| ((i * 7919) % 1013) as f64 / 1013.0;
        (0..n).map(|i| (i as f64 / (n - 1) as f64, wave(i))).collect()
    }

    #[test]
    fn short_curves_stay_whole() {
        let points = noisy(100);
        assert_eq!(curve(&points, 50), (0..100).collect::<Vec<_>>());
        assert!(curve(&[], 50).is_empty());
    }

    #[test]
    fn peaks_survive() {
        let mut points = noisy(100_000);
        points[54_321].1 = 100.0;
        points[12_345].1 = -100.0;
        let kept = curve(&points, 300);
        assert!(kept.len() <= 5 * 301, "{}", kept.len());
        assert!(kept.is_sorted() && kept.contains(&54_321) && kept.contains(&12_345));
        assert_eq!((kept[0], kept[kept.len() - 1]), (0, 99_999));
    }

    #[test]
    fn each_bucket_keeps_its_extremes() {
        let points = noisy(10_000);
        let kept = curve(&points, 100);
        for bucket in 0..100 {
            let inside = |i: &usize| (points[*i].0 * 100.0) as usize == bucket;
            let range = |indices: &mut dyn Iterator<Item = usize>| {
                indices.fold((f64::MAX, f64::MIN), |(a, b), i| (a.min(points[i].1), b.max(points[i].1)))
            };
            let all = range(&mut (0..points.len()).filter(inside));
            assert_eq!(range(&mut kept.iter().copied().filter(inside)), all);
        }
    }

    #[test]
    fn gaps_survive() {
        let mut points = noisy(100_000);
        points[500].1 = f64::NAN;
        assert!(curve(&points, 100).contains(&500));
        let all_gaps = vec![(f64::NAN, f64::NAN); 100_000];
        assert!(curve(&all_gaps, 100).len() < 1000);
    }

    #[test]
    fn x_that_runs_back_and_forth_is_thinned_too() {
        let mut points = noisy(50_000);
        points.iter_mut().enumerate().for_each(|(i, p)| p.0 = ((i * 31) % 97) as f64 / 97.0);
        assert!(curve(&points, 100).len() <= 8 * 100);
    }

    #[test]
    fn clouds_keep_their_outline() {
        let points: Vec<(f64, f64)> = noisy(200_000).into_iter().map(|(x, y)| (x, y * 0.5)).collect();
        let kept = cloud(&points, 4000);
        assert!((2000..=4000).contains(&kept.len()), "{}", kept.len());
        assert!(kept.is_sorted() && kept.windows(2).all(|w| w[0] != w[1]));
        let mut alone = points.clone();
        alone[12_345].1 = 1.0;
        assert!(cloud(&alone, 4000).contains(&12_345));
        assert_eq!(cloud(&points[..100], 4000).len(), 100);
        assert!(cloud(&[(f64::NAN, 0.0), (2.0, 0.5), (0.5, 0.5)], 10) == [2]);
    }

    #[test]
    fn paths_keep_start_and_end() {
        let spiral: Vec<(f64, f64)> = (0..100_000)
            .map(|i| {
                let r = libm::exp(-1e-4 * f64::from(i));
                (0.5 + 0.4 * r * libm::cos(0.1 * f64::from(i)), 0.5 + 0.4 * r * libm::sin(0.1 * f64::from(i)))
            })
            .collect();
        let kept = path(&spiral, 2000);
        assert!(kept.len() <= 2000);
        assert_eq!((kept[0], kept[kept.len() - 1]), (0, 99_999));
        assert_eq!(path(&[(0.1, 0.1), (f64::NAN, 0.0), (0.2, 0.2)], 100), [0]);
        assert!(path(&[], 100).is_empty());
    }
}
