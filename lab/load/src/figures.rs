//! Percentiles and sums of what was noted.

use crate::client::Sample;
use std::collections::BTreeMap;

/// The figures of some replies.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    pub count: usize,
    pub failed: usize,
    /// p50, p95, p99 and p99.9 of the latency, in µs.
    pub latency_us: [u64; 4],
    pub bytes: u64,
    /// Cacheable reads, and those of them that were hits.
    pub cacheable: usize,
    pub hits: usize,
}

/// Of ten thousand.
pub const PERCENTILES: [(&str, usize); 4] = [("p50", 5_000), ("p95", 9_500), ("p99", 9_900), ("p99.9", 9_990)];

/// The figures of these replies. Percentiles are exact (nearest rank).
pub fn summary<'a>(samples: impl Iterator<Item = &'a Sample>) -> Summary {
    let mut all = Summary::default();
    let mut latencies = Vec::new();
    for sample in samples {
        all.count += 1;
        all.failed += usize::from(sample.failed);
        all.bytes += sample.bytes;
        all.cacheable += usize::from(sample.hit.is_some());
        all.hits += usize::from(sample.hit == Some(true));
        latencies.push(sample.latency_us);
    }
    latencies.sort_unstable();
    let rank = |part: usize| (latencies.len() * part).div_ceil(10_000).saturating_sub(1);
    all.latency_us = PERCENTILES.map(|(_, part)| latencies.get(rank(part)).copied().unwrap_or(0));
    all
}

/// The figures of each endpoint, by name.
#[must_use]
pub fn by_endpoint(samples: &[Sample]) -> BTreeMap<&'static str, Summary> {
    let mut of: BTreeMap<&'static str, Vec<&Sample>> = BTreeMap::new();
    samples.iter().for_each(|sample| of.entry(sample.endpoint).or_default().push(sample));
    of.into_iter().map(|(endpoint, samples)| (endpoint, summary(samples.into_iter()))).collect()
}

/// The figures of each span of `width_ms`, from 0 on.
#[must_use]
pub fn over_time(samples: &[Sample], width_ms: u64) -> Vec<Summary> {
    let mut spans: Vec<Vec<&Sample>> = Vec::new();
    for sample in samples {
        let at = usize::try_from(sample.at_ms / width_ms.max(1)).unwrap_or(0);
        spans.resize_with(spans.len().max(at + 1), Vec::new);
        spans[at].push(sample);
    }
    spans.into_iter().map(|span| summary(span.into_iter())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(latency_us: u64) -> Sample {
        Sample {
            endpoint: "e",
            at_ms: latency_us,
            latency_us,
            status: 200,
            bytes: 2,
            hit: Some(latency_us > 5),
            failed: false,
        }
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_replies() {
        let samples: Vec<Sample> = (1..=1000).rev().map(sample).collect();
        let all = summary(samples.iter());
        assert_eq!(all.latency_us, [500, 950, 990, 999]);
        assert_eq!((all.count, all.bytes, all.cacheable, all.hits), (1000, 2000, 1000, 995));
        assert_eq!(over_time(&samples, 250).iter().map(|span| span.count).collect::<Vec<_>>(), [249, 250, 250, 250, 1]);
        assert_eq!(by_endpoint(&samples)["e"], all);
        assert_eq!(summary([].iter()).latency_us, [0; 4]);
    }
}
