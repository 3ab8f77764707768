//! Metrics: lines in CloudWatch's embedded metric format on standard output, which CloudWatch Logs turns into metrics.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use serde_json::{Number, Value, json};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

/// The name of a metric. Each stands in the code as `Metric("Name")` and nowhere else, so that `deploy/metrics.csv`, by which
/// alarms and the dashboard are held, can be compared with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric(pub &'static str);

static DEPLOYMENT: OnceLock<String> = OnceLock::new();

/// Lets [`metrics`] write, each value with the dimension `Deployment`, since an account may hold several. For deployed
/// functions, whose standard output goes to CloudWatch. A second call changes nothing.
pub fn init(deployment: &str) {
    DEPLOYMENT.get_or_init(|| deployment.to_owned());
}

/// Writes values once for the deployment and, where `part` names one (its dimension and value), once more for that
/// part; outside a deployed function nothing. Not for what happens on each request.
pub fn metrics(namespace: &str, part: Option<(&str, &str)>, values: &[(Metric, Number)]) {
    if let Some(deployment) = DEPLOYMENT.get()
        && !values.is_empty()
    {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        println!("{}", document(namespace, deployment, part, values, now_ms));
    }
}

fn document(
    namespace: &str,
    deployment: &str,
    part: Option<(&str, &str)>,
    values: &[(Metric, Number)],
    now_ms: u64,
) -> Value {
    let names: Vec<Value> = values.iter().map(|(name, _)| json!({"Name": name.0})).collect();
    let mut dimensions = vec![vec!["Deployment"]];
    dimensions.extend(part.map(|(name, _)| vec!["Deployment", name]));
    let mut line = json!({
        "_aws": {
            "Timestamp": now_ms,
            "CloudWatchMetrics": [{"Namespace": namespace, "Dimensions": dimensions, "Metrics": names}],
        },
        "Deployment": deployment,
    });
    if let Some((name, value)) = part {
        line[name] = json!(value);
    }
    for (name, value) in values {
        line[name.0] = json!(value);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_has_each_value_and_its_definition() {
        let values = [(Metric("Failed"), 1.into()), (Metric("SpendingUsd"), 15.into())];
        let line = document("Product/Jobs", "table", None, &values, 7);
        assert_eq!(
            line,
            json!({
                "_aws": {"Timestamp": 7, "CloudWatchMetrics": [{
                    "Namespace": "Product/Jobs",
                    "Dimensions": [["Deployment"]],
                    "Metrics": [{"Name": "Failed"}, {"Name": "SpendingUsd"}],
                }]},
                "Deployment": "table",
                "Failed": 1,
                "SpendingUsd": 15,
            })
        );
        let line = document("Product/Cache", "table", Some(("Class", "plan")), &values, 7);
        let dimensions = &line["_aws"]["CloudWatchMetrics"][0]["Dimensions"];
        assert_eq!(*dimensions, json!([["Deployment"], ["Deployment", "Class"]]));
        assert_eq!(line["Class"], "plan");
    }
}
