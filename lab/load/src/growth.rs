//! How cost grows with what is stored: figures of each endpoint at several sizes, what must stay flat, and the tables.

use serde_json::{Value, json};
use std::fmt::Write as _;

pub use testkit::meter::Cost;

/// What a call costs at most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Most {
    Calls(u64),
    ReadUnits(f64),
    WriteUnits(f64),
}

impl Most {
    fn allows(self, cost: &Cost) -> bool {
        match self {
            Self::Calls(most) => cost.calls <= most,
            Self::ReadUnits(most) => cost.read_units <= most,
            Self::WriteUnits(most) => cost.write_units <= most,
        }
    }
}

/// What something took here; medians, in µs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Timing {
    /// CPU time of the function's thread.
    pub function_us: f64,
    /// CPU time of the embedded database's thread.
    pub database_us: f64,
    /// From the event to the reply.
    pub latency_us: f64,
}

/// An endpoint at each size of a dimension, the smallest first.
#[derive(Clone, Debug)]
pub struct Row {
    pub endpoint: &'static str,
    pub costs: Vec<Cost>,
    /// Empty where only costs were taken.
    pub timings: Vec<Timing>,
}

/// What grows, and all endpoints at its sizes.
#[derive(Clone, Debug)]
pub struct Dimension {
    pub what: &'static str,
    pub sizes: Vec<usize>,
    pub rows: Vec<Row>,
}

/// Counters and sizes have digits: bytes may differ by these from size to size, and still be flat.
const DIGITS: f64 = 1.02;

impl Dimension {
    /// The endpoints whose exact figures are not the same at every size.
    #[must_use]
    pub fn grown(&self) -> Vec<String> {
        let mut grown = Vec::new();
        for row in &self.rows {
            let Some(first) = row.costs.first() else { continue };
            for (size, cost) in self.sizes.iter().zip(&row.costs).skip(1) {
                let exact = |cost: &Cost| (cost.calls, cost.read_units.to_bits(), cost.write_units.to_bits());
                let near = |one: u64, other: u64| {
                    double(one.max(other)) <= double(one.min(other)) * DIGITS || one.abs_diff(other) <= 8
                };
                let flat = exact(first) == exact(cost)
                    && near(first.bytes_sent, cost.bytes_sent)
                    && near(first.bytes_read, cost.bytes_read);
                if !flat {
                    grown.push(format!(
                        "{} with {size} {} costs {cost:?}, with {} {first:?}",
                        row.endpoint, self.what, self.sizes[0]
                    ));
                }
            }
        }
        grown
    }

    /// What costs more than it may, at any size. An endpoint that nobody called is one.
    #[must_use]
    pub fn beyond(&self, bounds: &[(&str, Most)]) -> Vec<String> {
        let mut beyond = Vec::new();
        for (endpoint, most) in bounds {
            let Some(row) = self.rows.iter().find(|row| row.endpoint == *endpoint) else {
                beyond.push(format!("{endpoint} was not called, and may cost {most:?}"));
                continue;
            };
            let costs = self.sizes.iter().zip(&row.costs).filter(|(_, cost)| !most.allows(cost));
            beyond.extend(costs.map(|(size, cost)| {
                format!("{endpoint} with {size} {} costs {cost:?}, more than {most:?}", self.what)
            }));
        }
        beyond
    }

    /// A Markdown table of the exact figures and of the times, each at the smallest size, with the largest size's ratio.
    #[must_use]
    pub fn table(&self) -> String {
        let sizes: Vec<String> = self.sizes.iter().map(ToString::to_string).collect();
        let mut table = format!(
            "| {}: {} | calls | bytes read | RCU | WCU | function CPU | database CPU | latency |\n\
             |---|---|---|---|---|---|---|---|\n",
            self.what,
            sizes.join(", ")
        );
        for row in &self.rows {
            let exact = |of: &dyn Fn(&Cost) -> f64, digits: usize| -> String {
                let values: Vec<f64> = row.costs.iter().map(of).collect();
                let same = values.windows(2).all(|pair| pair[0].to_bits() == pair[1].to_bits());
                let shown = if same { &values[..values.len().min(1)] } else { &values[..] };
                shown.iter().map(|value| format!("{value:.digits$}")).collect::<Vec<_>>().join(", ")
            };
            let timed = |of: &dyn Fn(&Timing) -> f64| -> String {
                match (row.timings.first().map(of), row.timings.last().map(of)) {
                    (Some(first), Some(last)) if first > 0.0 => format!("{first:.0} µs, {:.2}×", last / first),
                    _ => "–".to_owned(),
                }
            };
            let _ = writeln!(
                table,
                "| {} | {} | {} | {} | {} | {} | {} | {} |",
                row.endpoint,
                exact(&|cost| double(cost.calls), 0),
                exact(&|cost| double(cost.bytes_read), 0),
                exact(&|cost| cost.read_units, 0),
                exact(&|cost| cost.write_units, 0),
                timed(&|timing| timing.function_us),
                timed(&|timing| timing.database_us),
                timed(&|timing| timing.latency_us),
            );
        }
        table
    }

    /// Everything as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            let costs = row.costs.iter().map(|cost| {
                json!({"calls": cost.calls, "bytes_sent": cost.bytes_sent, "bytes_read": cost.bytes_read,
                    "read_units": cost.read_units, "write_units": cost.write_units})
            });
            let timings = row.timings.iter().map(|timing| {
                json!({"function_us": timing.function_us, "database_us": timing.database_us,
                    "latency_us": timing.latency_us})
            });
            json!({"endpoint": row.endpoint, "costs": costs.collect::<Vec<_>>(), "timings": timings.collect::<Vec<_>>()})
        });
        json!({"what": self.what, "sizes": self.sizes, "endpoints": rows.collect::<Vec<_>>()})
    }
}

/// The middle one; 0 of none.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[expect(clippy::cast_precision_loss, reason = "figures to look at")]
fn double(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const COST: Cost = Cost { calls: 2, bytes_sent: 900, bytes_read: 2_000, read_units: 3.0, write_units: 0.0 };

    fn dimension(larger: Cost) -> Dimension {
        let timings = vec![
            Timing { function_us: 100.0, database_us: 50.0, latency_us: 400.0 },
            Timing { function_us: 110.0, database_us: 75.0, latency_us: 480.0 },
        ];
        let row = Row { endpoint: "list-items", costs: vec![COST, larger], timings };
        Dimension { what: "items", sizes: vec![100, 2_000], rows: vec![row] }
    }

    #[test]
    fn what_grows_is_found_and_digits_are_no_growth() {
        assert_eq!(dimension(COST).grown(), Vec::<String>::new());
        assert_eq!(dimension(Cost { bytes_read: 2_003, ..COST }).grown(), Vec::<String>::new());
        for larger in [
            Cost { calls: 3, ..COST },
            Cost { bytes_sent: 1_000, ..COST },
            Cost { bytes_read: 2_200, ..COST },
            Cost { read_units: 4.0, ..COST },
            Cost { write_units: 1.0, ..COST },
        ] {
            let grown = dimension(larger).grown();
            assert_eq!(grown.len(), 1, "{larger:?}");
            assert!(grown[0].starts_with("list-items with 2000 items"), "{grown:?}");
        }
    }

    #[test]
    fn what_costs_more_than_it_may_is_found() {
        let larger = dimension(Cost { calls: 4, ..COST });
        let beyond = |most| larger.beyond(&[("list-items", most)]);
        for enough in [Most::Calls(4), Most::ReadUnits(3.0), Most::WriteUnits(0.0)] {
            assert_eq!(beyond(enough), Vec::<String>::new());
        }
        assert_eq!(beyond(Most::Calls(3)).len(), 1, "the larger one");
        assert_eq!(beyond(Most::ReadUnits(2.5)).len(), 2);
        assert!(beyond(Most::Calls(1))[0].starts_with("list-items with 100 items costs"));
        assert_eq!(larger.beyond(&[("list-jobs", Most::Calls(9))]).len(), 1, "none of that name");
    }

    #[test]
    fn the_table_shows_what_differs_and_ratios() {
        let table = dimension(Cost { read_units: 4.0, ..COST }).table();
        assert!(table.contains("| list-items | 2 | 2000 | 3, 4 | 0 | 100 µs, 1.10× | 50 µs, 1.50× | 400 µs, 1.20× |"));
        assert_eq!(dimension(COST).json()["endpoints"][0]["costs"][1]["bytes_read"], 2_000);
        assert_eq!((median(vec![3.0, 1.0, 2.0]).to_bits(), median(Vec::new()).to_bits()), (2.0f64.to_bits(), 0));
    }
}
