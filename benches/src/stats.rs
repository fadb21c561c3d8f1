//! Medians, percentiles and ratios of interleaved samples.
use serde_json::{Value, json};

/// Measurements of one thing, in the order taken. The unit is the caller's.
#[derive(Debug, Clone, Default)]
pub struct Samples(pub Vec<f64>);

impl Samples {
    /// The value below which the share `p` (0 to 1) of the samples lies, interpolated; 0 of none.
    pub fn percentile(&self, p: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let place = p.clamp(0.0, 1.0) * sorted.len().saturating_sub(1) as f64;
        let at = |index: f64| sorted.get(index as usize).copied().unwrap_or_default();
        at(place.floor()) + (at(place.ceil()) - at(place.floor())) * place.fract()
    }

    /// The middle value.
    pub fn median(&self) -> f64 {
        self.percentile(0.5)
    }

    /// The figures that reports keep.
    pub fn summary(&self) -> Value {
        json!({
            "runs": self.0.len(),
            "median": self.median(),
            "p95": self.percentile(0.95),
            "least": self.percentile(0.0),
        })
    }
}

/// How many times as much `ours` is as `theirs`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// Of the two medians: the figure that is judged.
    pub of_medians: f64,
    /// Of the two 95th percentiles.
    pub of_p95: f64,
    /// The median of the ratios of neighbouring runs, which cancels a drift of the machine.
    pub paired: f64,
    /// First and third quartile of the paired ratios: the spread.
    pub quartiles: (f64, f64),
}

impl Ratio {
    /// Compares samples that were taken in turn.
    pub fn new(ours: &Samples, theirs: &Samples) -> Ratio {
        let pairs = ours.0.iter().zip(&theirs.0).filter(|(_, theirs)| **theirs > 0.0);
        let pairs = Samples(pairs.map(|(ours, theirs)| ours / theirs).collect());
        let at = |p: f64| match theirs.percentile(p) {
            below if below > 0.0 => ours.percentile(p) / below,
            _ => f64::NAN,
        };
        Ratio {
            of_medians: at(0.5),
            of_p95: at(0.95),
            paired: pairs.median(),
            quartiles: (pairs.percentile(0.25), pairs.percentile(0.75)),
        }
    }

    /// The figures that reports keep.
    pub fn summary(&self) -> Value {
        json!({
            "of_medians": self.of_medians,
            "of_p95": self.of_p95,
            "paired_median": self.paired,
            "paired_quartiles": [self.quartiles.0, self.quartiles.1],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_known_samples() {
        let samples = Samples(vec![5.0, 1.0, 4.0, 2.0, 3.0]);
        assert_eq!(samples.median(), 3.0);
        assert_eq!(samples.percentile(0.0), 1.0);
        assert_eq!(samples.percentile(1.0), 5.0);
        assert!((samples.percentile(0.95) - 4.8).abs() < 1e-9);
        assert_eq!(Samples(vec![1.0, 2.0]).median(), 1.5);
        assert_eq!(Samples(vec![7.0]).percentile(0.95), 7.0);
        assert_eq!(Samples(vec![]).median(), 0.0);
    }

    #[test]
    fn paired_ratios_cancel_drift() {
        // The machine becomes ten times slower half-way; ours is always half of theirs.
        let theirs = Samples(vec![2.0, 2.0, 20.0, 20.0]);
        let ours = Samples(vec![1.0, 1.0, 10.0, 10.0]);
        let ratio = Ratio::new(&ours, &theirs);
        assert_eq!((ratio.paired, ratio.quartiles), (0.5, (0.5, 0.5)));
        assert_eq!(ratio.of_medians, 0.5);
    }

    #[test]
    fn a_ratio_to_nothing_is_no_number() {
        assert!(
            Ratio::new(&Samples(vec![1.0]), &Samples(vec![]))
                .of_medians
                .is_nan()
        );
        assert!(
            Ratio::new(&Samples(vec![1.0]), &Samples(vec![0.0]))
                .of_medians
                .is_nan()
        );
    }
}
