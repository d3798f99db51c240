//! What one invocation did -> lines of CloudWatch's embedded metric format on standard output, where Lambda's log
//! makes metrics of them without a call to any service.

use std::{
    fmt,
    io::Write,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use serde_json::{Map, Value, json};

use crate::context::{RecordSnapshot, Visit};

/// Whose metrics they are.
#[derive(Debug)]
pub struct Metrics {
    /// The namespace in CloudWatch.
    pub namespace: String,
    /// The function's name.
    pub function: String,
    /// The Flow's.
    pub flow: String,
    /// Where the lines go.
    pub output: Output,
}

/// Where lines go.
pub struct Output(Mutex<Box<dyn Write + Send>>);

impl Output {
    /// Lines go there, those of one invocation in one write.
    pub fn to(writer: impl Write + Send + 'static) -> Self {
        Self(Mutex::new(Box::new(writer)))
    }
}

impl Default for Output {
    /// Standard output, where Lambda reads them.
    fn default() -> Self {
        Self::to(std::io::stdout())
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Output")
    }
}

/// What one invocation did.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// How long INIT took, if this was the first invocation after it.
    pub cold: Option<Duration>,
    /// From the event to the answer.
    pub duration: Duration,
    /// What became of its requests.
    pub record: RecordSnapshot,
    /// Counts that are of the whole invocation: a metric's name and its value.
    pub bytes: Vec<(&'static str, u64)>,
    /// Shown beside the metrics, to find the log of the same invocation.
    pub request_id: String,
}

impl Metrics {
    /// One line of the invocation, one for each Executor that was visited and one for each failure: a line has one
    /// value for a dimension.
    #[must_use]
    pub fn lines(&self, measured: &Measured, now: SystemTime) -> Vec<String> {
        let line = || self.line(measured, now);
        let mut lines = vec![whole(line(), measured).written()];
        let visits = measured.record.visits.iter();
        lines.extend(visits.filter_map(|visit| {
            let time = duration(visit)?;
            let line = line().dimension("Executor", &visit.executor);
            let line = line.metric("NodeDuration", Unit::Milliseconds, milliseconds(time));
            let failed = if visit.failed { 1.0 } else { 0.0 };
            Some(line.metric("NodeErrors", Unit::Count, failed).written())
        }));
        let failures = measured.record.failures.iter();
        lines.extend(failures.map(|(code, executor)| {
            let line = line().dimension("Code", &format!("{code:?}"));
            let line = line.property("Executor", executor.as_deref());
            line.metric("Errors", Unit::Count, 1.0).written()
        }));
        lines
    }

    /// Writes the lines.
    pub fn write(&self, measured: &Measured) {
        let mut text = self.lines(measured, SystemTime::now()).join("\n");
        text.push('\n');
        // One write for all, so that other requests' lines do not come between; a closed log has no reader.
        let mut output = self.output.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = output.write_all(text.as_bytes());
    }

    fn line(&self, measured: &Measured, now: SystemTime) -> Line {
        let since = now.duration_since(SystemTime::UNIX_EPOCH);
        let timestamp = u64::try_from(since.unwrap_or_default().as_millis());
        let line = Line {
            namespace: self.namespace.clone(),
            timestamp: timestamp.unwrap_or(u64::MAX),
            dimensions: Vec::new(),
            metrics: Vec::new(),
            members: Map::new(),
        };
        line.dimension("FunctionName", &self.function)
            .dimension("Flow", &self.flow)
            .property("requestId", Some(&measured.request_id))
    }
}

fn whole(mut line: Line, measured: &Measured) -> Line {
    let cold = if measured.cold.is_some() { 1.0 } else { 0.0 };
    line = line.metric("ColdStart", Unit::Count, cold);
    if let Some(init) = measured.cold {
        line = line.metric("InitDuration", Unit::Milliseconds, milliseconds(init));
    }
    line = line.metric(
        "Duration",
        Unit::Milliseconds,
        milliseconds(measured.duration),
    );
    for (name, bytes) in &measured.bytes {
        #[expect(
            clippy::cast_precision_loss,
            reason = "CloudWatch's values are doubles"
        )]
        let bytes = *bytes as f64;
        line = line.metric(name, Unit::Bytes, bytes);
    }
    line
}

fn duration(visit: &Visit) -> Option<Duration> {
    let start = SystemTime::try_from(visit.start).ok()?;
    let end = SystemTime::try_from(visit.end?).ok()?;
    Some(end.duration_since(start).unwrap_or_default())
}

fn milliseconds(duration: Duration) -> f64 {
    // Three places are more than a clock in a virtual machine knows.
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[derive(Clone, Copy, Debug)]
enum Unit {
    Bytes,
    Count,
    Milliseconds,
}

/// One line while it is put together.
struct Line {
    namespace: String,
    timestamp: u64,
    dimensions: Vec<&'static str>,
    metrics: Vec<Value>,
    members: Map<String, Value>,
}

impl Line {
    fn dimension(mut self, name: &'static str, value: &str) -> Self {
        // CloudWatch takes no dimension without a value.
        if value.is_empty() {
            return self;
        }
        self.dimensions.push(name);
        // A dimension's value has at most 1024 characters (embedded metric format).
        let value: String = value.chars().take(1024).collect();
        self.members.insert(name.to_owned(), value.into());
        self
    }

    fn property(mut self, name: &str, value: Option<&str>) -> Self {
        if let Some(value) = value {
            self.members.insert(name.to_owned(), value.into());
        }
        self
    }

    fn metric(mut self, name: &str, unit: Unit, value: f64) -> Self {
        let unit = format!("{unit:?}");
        self.metrics.push(json!({ "Name": name, "Unit": unit }));
        self.members.insert(name.to_owned(), value.into());
        self
    }

    fn written(mut self) -> String {
        let directive = json!({
            "Namespace": self.namespace,
            "Dimensions": [self.dimensions],
            "Metrics": self.metrics,
        });
        let aws = json!({ "Timestamp": self.timestamp, "CloudWatchMetrics": [directive] });
        self.members.insert("_aws".to_owned(), aws);
        Value::Object(self.members).to_string()
    }
}

#[cfg(test)]
mod tests {
    use flowgate_proto::Timestamp;

    use super::*;
    use crate::error::ErrorCode;

    fn lines(measured: &Measured) -> Vec<Value> {
        let metrics = Metrics {
            namespace: "Flowgate".to_owned(),
            function: "gateway-fn".to_owned(),
            flow: "search".to_owned(),
            output: Output::default(),
        };
        let lines = metrics.lines(measured, SystemTime::UNIX_EPOCH + Duration::from_secs(1));
        let parse = |line: &String| serde_json::from_str(line).expect("JSON in one line");
        lines.iter().map(parse).collect()
    }

    #[test]
    fn every_metric_and_dimension_of_a_line_is_a_member_of_it() {
        let visit = Visit {
            executor: "encoder".to_owned(),
            start: Timestamp::default(),
            end: Some(Timestamp {
                seconds: 0,
                nanos: 2_500_000,
            }),
            failed: true,
        };
        let running = Visit {
            end: None,
            ..visit.clone()
        };
        let lines = lines(&Measured {
            cold: Some(Duration::from_millis(7)),
            duration: Duration::from_micros(1234),
            record: RecordSnapshot {
                visits: vec![visit, running],
                failures: vec![(ErrorCode::Unavailable, Some("indexer".to_owned()))],
            },
            bytes: vec![("AnswerBytes", 10)],
            request_id: "r".to_owned(),
        });
        assert_eq!(lines.len(), 3);
        for line in &lines {
            let directive = &line["_aws"]["CloudWatchMetrics"][0];
            assert_eq!(directive["Namespace"], "Flowgate");
            assert_eq!(line["_aws"]["Timestamp"], 1000);
            for name in directive["Dimensions"][0].as_array().expect("a list") {
                assert!(line[name.as_str().expect("text")].is_string(), "{line}");
            }
            for metric in directive["Metrics"].as_array().expect("a list") {
                let name = metric["Name"].as_str().expect("text");
                assert!(line[name].is_number(), "{name} in {line}");
            }
        }
        assert_eq!(lines[0]["ColdStart"], 1.0);
        assert_eq!(lines[0]["InitDuration"], 7.0);
        assert_eq!(lines[0]["Duration"], 1.234);
        assert_eq!(lines[0]["AnswerBytes"], 10.0);
        assert_eq!(lines[1]["NodeDuration"], 2.5);
        assert_eq!(lines[1]["NodeErrors"], 1.0);
        assert_eq!(lines[2]["Code"], "Unavailable");
        assert_eq!(lines[2]["Executor"], "indexer");
    }

    #[test]
    fn a_function_without_a_name_has_no_dimension_for_it() {
        let metrics = Metrics {
            namespace: "Flowgate".to_owned(),
            function: String::new(),
            flow: "search".to_owned(),
            output: Output::default(),
        };
        let lines = metrics.lines(&Measured::default(), SystemTime::UNIX_EPOCH);
        let line: Value = serde_json::from_str(&lines[0]).expect("JSON");
        let directive = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(directive["Dimensions"], json!([["Flow"]]));
        assert!(line.get("FunctionName").is_none());
    }

    #[test]
    fn a_warm_start_has_no_init() {
        let lines = lines(&Measured::default());
        assert_eq!(lines[0]["ColdStart"], 0.0);
        assert!(lines[0].get("InitDuration").is_none());
    }
}
