//! The numbers of `metrics` as OTLP has them: cumulative since the agent began.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum,
    metric::Data, number_data_point::Value,
};

use super::value::Attributes;
use crate::metrics::{self, Family, Labels, Values};

/// What the numbers are of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moments {
    /// Since when it was counted, nanoseconds since 1970.
    pub(super) since_ns: u64,
    /// Until when.
    pub(super) now_ns: u64,
}

/// A metric for each family that has series.
pub(super) fn of_families(families: &[Family<'_>], at: Moments) -> Vec<Metric> {
    families.iter().filter_map(|it| of_family(it, at)).collect()
}

/// How many data points these have.
pub(super) fn points(metrics: &[Metric]) -> u64 {
    let count = |metric: &Metric| match &metric.data {
        Some(Data::Sum(it)) => it.data_points.len(),
        Some(Data::Gauge(it)) => it.data_points.len(),
        Some(Data::Histogram(it)) => it.data_points.len(),
        _ => 0,
    };
    metrics.iter().map(|it| count(it) as u64).sum()
}

fn of_family(family: &Family<'_>, at: Moments) -> Option<Metric> {
    let data = match &family.series {
        Values::Counts(all) => sum(all.iter().map(|(labels, value)| {
            let value = i64::try_from(*value).unwrap_or(i64::MAX);
            point(labels, Value::AsInt(value), at)
        })),
        Values::Seconds(all) => sum(all
            .iter()
            .map(|(labels, value)| point(labels, Value::AsDouble(*value), at))),
        Values::Gauges(all) => Data::Gauge(Gauge {
            data_points: all
                .iter()
                .map(|(labels, value)| NumberDataPoint {
                    start_time_unix_nano: 0,
                    ..point(labels, Value::AsDouble(*value), at)
                })
                .collect(),
        }),
        Values::Histograms(all) => Data::Histogram(Histogram {
            data_points: all
                .iter()
                .map(|(labels, value)| buckets(labels, value, at))
                .collect(),
            aggregation_temporality: AggregationTemporality::Cumulative.into(),
        }),
    };
    let metric = Metric {
        name: family.name.to_owned(),
        description: family.help.to_owned(),
        unit: unit(family.name).to_owned(),
        data: Some(data),
        ..Metric::default()
    };
    (points(std::slice::from_ref(&metric)) > 0).then_some(metric)
}

/// As UCUM has it.
fn unit(name: &str) -> &'static str {
    match name {
        name if name.ends_with("_seconds") => "s",
        name if name.ends_with("_bytes") => "By",
        // With "1" others would call it a ratio.
        _ => "",
    }
}

fn sum(data_points: impl Iterator<Item = NumberDataPoint>) -> Data {
    Data::Sum(Sum {
        data_points: data_points.collect(),
        aggregation_temporality: AggregationTemporality::Cumulative.into(),
        is_monotonic: true,
    })
}

/// Labels without a value are none.
fn attributes(labels: &Labels<'_>) -> Vec<KeyValue> {
    let mut all = Attributes::default();
    for (name, value) in labels {
        if !value.is_empty() {
            all.text(name, value.as_ref());
        }
    }
    all.0
}

fn point(labels: &Labels<'_>, value: Value, at: Moments) -> NumberDataPoint {
    NumberDataPoint {
        attributes: attributes(labels),
        start_time_unix_nano: at.since_ns,
        time_unix_nano: at.now_ns,
        value: Some(value),
        ..NumberDataPoint::default()
    }
}

fn buckets(labels: &Labels<'_>, value: &metrics::Histogram, at: Moments) -> HistogramDataPoint {
    let buckets = value.buckets();
    let bounds = buckets.len() - 1;
    HistogramDataPoint {
        attributes: attributes(labels),
        start_time_unix_nano: at.since_ns,
        time_unix_nano: at.now_ns,
        count: value.count(),
        // Not what goes down, too.
        sum: (!value.has_negative()).then(|| value.sum()),
        bucket_counts: buckets.iter().map(|(_, count)| *count).collect(),
        // The last one has no bound.
        explicit_bounds: buckets[..bounds].iter().map(|(bound, _)| *bound).collect(),
        ..HistogramDataPoint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::samples::{S, Sample};
    use crate::event::Event;
    use crate::metrics::Metrics;
    use crate::study::Projector;
    use crate::study::row::Rows;

    const AT: Moments = Moments {
        since_ns: 1,
        now_ns: 2,
    };

    #[test]
    fn the_numbers_are_those_that_prometheus_reads() {
        let metrics = Metrics::new(10, None);
        let event = Event::Send(Box::new(Sample::new("READY=1").at(S).build()));
        let mut rows = Rows::default();
        Projector::default().event(&event, &mut rows);
        metrics.take(&event, &rows);
        let snapshot = metrics.snapshot();
        let all = of_families(&snapshot.families(), AT);
        let find = |name: &str| all.iter().find(|it| it.name == name).expect(name);
        let Some(Data::Sum(sum)) = &find("notify_trace_notifications").data else {
            panic!("no sum")
        };
        let [point] = &*sum.data_points else {
            panic!("{sum:?}")
        };
        assert_eq!(
            (point.value, point.start_time_unix_nano),
            (Some(Value::AsInt(1)), 1)
        );
        let keys: Vec<&str> = point.attributes.iter().map(|it| &*it.key).collect();
        assert_eq!(keys, ["unit"], "labels without a value are none");
        let delivery = find("notify_trace_delivery_seconds");
        assert_eq!(delivery.unit, "s");
        let Some(Data::Histogram(histogram)) = &delivery.data else {
            panic!("no histogram")
        };
        let point = &histogram.data_points[0];
        assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
        assert_eq!(point.bucket_counts.iter().sum::<u64>(), 1);
        assert!(
            all.iter().all(|it| it.name != "notify_trace_verdicts"),
            "no series"
        );
    }
}
