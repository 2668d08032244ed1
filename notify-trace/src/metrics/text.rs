//! Families as Prometheus reads them: text format 0.0.4.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::Snapshot;
use super::families::{Family, Values};

/// What is read.
pub(super) const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

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
                let mut metric = metrics.encode_family(labels)?;
                metric.encode_histogram::<NoLabelSet>(
                    value.sum(),
                    value.count(),
                    &value.buckets(),
                    None,
                )?;
            }
        }
    }
    Ok(())
}
