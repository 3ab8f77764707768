//! Line and bar charts as inline SVG. Colours are the page's variables, so that they follow light and dark.

use std::fmt::Write as _;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 52.0;
const BOTTOM: f64 = 24.0;
const TOP: f64 = 12.0;
const RIGHT: f64 = 16.0;

/// A named line: points of x (seconds) and y.
pub type Line<'a> = (&'a str, Vec<(f64, f64)>);

/// How values become heights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// From 0 up.
    Linear,
    /// Decades, for what spans several of them.
    Decades,
}

/// A chart of lines over seconds up to `end`, with marks where something begins.
pub struct Chart<'a> {
    pub title: &'a str,
    pub unit: &'a str,
    pub scale: Scale,
    pub end: f64,
    pub marks: &'a [(f64, &'a str)],
}

/// Where the values of a chart lie.
struct Axis {
    scale: Scale,
    bottom: f64,
    top: f64,
    /// Between two lines of a linear axis.
    step: f64,
}

impl Axis {
    fn over(scale: Scale, values: impl Iterator<Item = f64> + Clone) -> Self {
        let most = values.clone().fold(0.0, f64::max);
        if scale == Scale::Linear {
            let step = nice(most.max(1.0) / 5.0);
            return Self { scale, bottom: 0.0, top: step * (most.max(1.0) / step).ceil(), step };
        }
        let least = values.filter(|value| *value > 0.0).fold(most, f64::min).max(0.01);
        let (bottom, top) = (10f64.powf(least.log10().floor()), 10f64.powf(most.max(0.1).log10().ceil()));
        Self { scale, bottom, top: if top > bottom { top } else { bottom * 10.0 }, step: 0.0 }
    }

    fn y(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => value / self.top,
            Scale::Decades => (value.max(self.bottom) / self.bottom).log10() / (self.top / self.bottom).log10(),
        };
        TOP + (1.0 - share) * (HEIGHT - TOP - BOTTOM)
    }

    fn steps(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => std::iter::successors(Some(0.0), |value| Some(value + self.step))
                .take_while(|value| *value < self.top + self.step / 2.0)
                .collect(),
            Scale::Decades => std::iter::successors(Some(self.bottom), |value| Some(value * 10.0))
                .take_while(|value| *value < self.top * 1.5)
                .collect(),
        }
    }
}

impl Chart<'_> {
    /// The chart of these lines; a single one is filled below.
    #[must_use]
    pub fn lines(&self, lines: &[Line<'_>]) -> String {
        let points = || lines.iter().flat_map(|(_, points)| points);
        let axis = Axis::over(self.scale, points().map(|(_, y)| *y));
        let end = points().map(|(x, _)| *x).fold(self.end.max(1.0), f64::max);
        let x = |value: f64| LEFT + value / end * (WIDTH - LEFT - RIGHT);
        let Self { title, unit, .. } = self;
        let mut svg = format!("<figure><figcaption>{title} <small>{unit}</small><span class=\"keys\">");
        for (at, (name, _)) in lines.iter().enumerate().filter(|_| lines.len() > 1) {
            let _ = write!(svg, "<span class=\"key\"><i style=\"background:var(--line{at})\"></i>{name}</span>");
        }
        let label = format!("{title}, {unit}").replace('"', "");
        let _ = write!(
            svg,
            "</span></figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{label}\">"
        );
        grid(&mut svg, &axis, end, x);
        for (at, name) in self.marks {
            let _ = write!(
                svg,
                "<line class=\"mark\" x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{TOP}\" y2=\"{1}\"/>\
                 <text class=\"mark\" x=\"{2:.1}\" y=\"{3}\">{name}</text>",
                x(*at),
                HEIGHT - BOTTOM,
                x(*at) + 4.0,
                TOP + 9.0
            );
        }
        for (at, (_, points)) in lines.iter().enumerate() {
            let path: Vec<String> = points.iter().map(|(px, py)| format!("{:.1},{:.1}", x(*px), axis.y(*py))).collect();
            if let (1, Some((first, _)), Some((last, _))) = (lines.len(), points.first(), points.last()) {
                let (floor, path) = (HEIGHT - BOTTOM, path.join(" "));
                let (from, to) = (x(*first), x(*last));
                let _ = write!(
                    svg,
                    "<polygon points=\"{from:.1},{floor} {path} {to:.1},{floor}\" style=\"fill:var(--line{at})\"/>"
                );
            }
            let _ = write!(svg, "<polyline points=\"{}\" style=\"stroke:var(--line{at})\"/>", path.join(" "));
        }
        svg.push_str("</svg></figure>");
        svg
    }
}

fn grid(svg: &mut String, axis: &Axis, end: f64, x: impl Fn(f64) -> f64) {
    for value in axis.steps() {
        let at = axis.y(value);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.0}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            at + 4.0,
            short(value)
        );
    }
    let step = nice(end / 8.0).max(1.0);
    let marks = std::iter::successors(Some(0.0), |at| Some(at + step)).take_while(|at| *at <= end);
    for value in marks {
        let at = x(value);
        let y = HEIGHT - 7.0;
        let _ = write!(svg, "<text x=\"{at:.1}\" y=\"{y}\" text-anchor=\"middle\">{} s</text>", short(value));
    }
}

/// Horizontal bars of ratios from 1 (a mark) in a logarithmic scale, each with its text, as a file of its own that suits both
/// themes.
#[must_use]
pub fn bars(title: &str, bars: &[(String, f64)]) -> String {
    let height = 60 + 34 * bars.len();
    let values = || bars.iter().map(|(_, value)| value.max(1e-3));
    let (least, most) = (values().fold(0.8, f64::min), values().fold(1.25, f64::max));
    let x = |value: f64| 240.0 + (value.max(1e-3) / least).ln() / (most / least).ln() * 400.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 720 {height}\" font-family=\"system-ui, sans-serif\" \
         font-size=\"14\"><style>text{{fill:#222}}rect{{fill:#3b6fd4}}line{{stroke:#888}}\
         @media(prefers-color-scheme:dark){{text{{fill:#ddd}}rect{{fill:#7ea6f5}}}}</style>\
         <text x=\"12\" y=\"24\" font-weight=\"600\">{title}</text>"
    );
    for (at, (name, value)) in bars.iter().enumerate() {
        let value = *value;
        let y = 44 + 34 * at;
        let _ = write!(
            svg,
            "<text x=\"220\" y=\"{}\" text-anchor=\"end\">{name}</text>\
             <rect x=\"{:.1}\" y=\"{y}\" width=\"{:.1}\" height=\"22\" rx=\"3\"/><text x=\"{:.1}\" y=\"{}\">{value:.2}×</text>",
            y + 16,
            x(value.min(1.0)),
            x(value.max(1.0)) - x(value.min(1.0)),
            x(value.max(1.0)) + 8.0,
            y + 16
        );
    }
    let _ = writeln!(
        svg,
        "<line x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"38\" y2=\"{1}\" stroke-dasharray=\"4 3\"/></svg>",
        x(1.0),
        height - 12
    );
    svg
}

/// The next of 1, 2, 5, 10, 20, … that is not less.
fn nice(value: f64) -> f64 {
    let mut scale = 0.001;
    loop {
        for step in [1.0, 2.0, 5.0] {
            if step * scale >= value {
                return step * scale;
            }
        }
        scale *= 10.0;
    }
}

fn short(value: f64) -> String {
    let text = if value >= 10.0 { format!("{value:.0}") } else { format!("{value:.2}") };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_reach_from_one_to_their_ratio() {
        let svg = bars("title", &[("half".to_owned(), 0.5), ("twice".to_owned(), 2.0), ("eight".to_owned(), 8.0)]);
        // Of four doublings, 100 each: the mark is one in, and the bars are 1, 1 and 3 long.
        assert!(svg.contains("x1=\"340.0\" x2=\"340.0\""), "{svg}");
        for (from, width) in [("240.0", "100.0"), ("340.0", "100.0"), ("340.0", "300.0")] {
            assert!(
                svg.contains(&format!("<rect x=\"{from}\" y=")) && svg.contains(&format!("width=\"{width}\"")),
                "{svg}"
            );
        }
    }

    #[test]
    fn axes_hold_all_values() {
        let linear = Axis::over(Scale::Linear, [3.0, 130.0].into_iter());
        assert_eq!((linear.y(0.0), linear.y(150.0)), (HEIGHT - BOTTOM, TOP));
        // What stands beside a line is where it is: no 12.5 that reads 12.
        assert_eq!(linear.steps(), [0.0, 50.0, 100.0, 150.0]);
        let decades = Axis::over(Scale::Decades, [0.0, 3.0, 130.0].into_iter());
        assert_eq!(decades.steps(), [1.0, 10.0, 100.0, 1_000.0]);
        assert!((decades.y(1_000.0) - TOP).abs() < 1e-6 && (decades.y(0.0) - (HEIGHT - BOTTOM)).abs() < 1e-6);
        let nothing = Axis::over(Scale::Decades, std::iter::empty());
        assert!(nothing.y(0.05).is_finite() && nothing.steps().len() >= 2);
    }
}
