//! Families as Prometheus reads them: text format 0.0.4, or protobuf for those who want native histograms.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::Snapshot;
use super::families::{Family, Values};
use super::histogram::Histogram;

/// What is read.
pub(super) const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// What those ask for who want native histograms, and what they get.
#[cfg(feature = "native")]
pub(super) const PROTOBUF: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

/// Whether somebody who accepts this wants native histograms.
#[cfg(feature = "native")]
pub(super) fn wants_native(accept: &str) -> bool {
    accept.split(',').any(|one| {
        let mut words = one.split(';').map(str::trim);
        words.next() == Some("application/vnd.google.protobuf")
            && words.clone().any(|it| it == "encoding=delimited")
            && words.any(|it| it == "proto=io.prometheus.client.MetricFamily")
    })
}

/// The same with native histograms.
#[cfg(feature = "native")]
pub(super) fn protobuf(snapshot: Snapshot) -> Result<Vec<u8>, fmt::Error> {
    use prometheus_client::encoding::prometheus_protobuf;

    let mut registry = Registry::default();
    registry.register_collector(Box::new(snapshot));
    prometheus_protobuf::encode_to_vec(&registry).map_err(|_| fmt::Error)
}

/// The text.
pub(super) fn text(snapshot: Snapshot) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(snapshot));
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry)?;
    Ok(text)
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in self.families() {
            one(&family, &mut encoder)?;
        }
        Ok(())
    }
}

fn one(family: &Family<'_>, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let kind = match &family.series {
        Values::Counts(_) | Values::Seconds(_) => MetricType::Counter,
        Values::Gauges(_) => MetricType::Gauge,
        Values::Histograms(_) => MetricType::Histogram,
    };
    let mut metrics = encoder.encode_descriptor(family.name, family.help, None, kind)?;
    match &family.series {
        Values::Counts(all) => {
            for (labels, value) in all {
                let mut metric = metrics.encode_family(labels)?;
                metric.encode_counter::<NoLabelSet, _, u64>(value, None)?;
            }
        }
        Values::Seconds(all) => {
            for (labels, value) in all {
                let mut metric = metrics.encode_family(labels)?;
                metric.encode_counter::<NoLabelSet, _, u64>(value, None)?;
            }
        }
        Values::Gauges(all) => {
            for (labels, value) in all {
                metrics.encode_family(labels)?.encode_gauge(value)?;
            }
        }
        Values::Histograms(all) => {
            for (labels, value) in all {
                histogram(value, &mut metrics.encode_family(labels)?)?;
            }
        }
    }
    Ok(())
}

#[cfg(not(feature = "native"))]
fn histogram(it: &Histogram, metric: &mut MetricEncoder<'_>) -> fmt::Result {
    metric.encode_histogram::<NoLabelSet>(it.sum(), it.count(), &it.buckets(), None)
}

#[cfg(feature = "native")]
fn histogram(it: &Histogram, metric: &mut MetricEncoder<'_>) -> fmt::Result {
    use prometheus_client::encoding::{NativeHistogram, NativeHistogramBuckets};

    let native = it.native();
    let (negative, positive) = (native.negative(), native.positive());
    let native = NativeHistogram {
        schema: native.schema,
        zero_threshold: super::native::ZERO,
        zero_count: native.zero,
        negative: NativeHistogramBuckets {
            spans: &negative.spans,
            deltas: &negative.deltas,
        },
        positive: NativeHistogramBuckets {
            spans: &positive.spans,
            deltas: &positive.deltas,
        },
        created: None,
    };
    let buckets = it.buckets();
    metric.encode_histogram_with_native::<NoLabelSet>(it.sum(), it.count(), &buckets, None, native)
}

#[cfg(all(test, feature = "native"))]
mod tests {
    use super::*;

    #[test]
    fn who_wants_native_histograms_says_so() {
        let modern = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;\
                      encoding=delimited;q=0.6,text/plain;version=0.0.4;q=0.3";
        assert!(wants_native(modern));
        assert!(wants_native(PROTOBUF));
        for other in [
            "",
            "*/*",
            "text/plain;version=0.0.4",
            "application/vnd.google.protobuf",
        ] {
            assert!(!wants_native(other), "{other}");
        }
    }
}
