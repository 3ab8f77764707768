//! Line and bar charts as inline SVG. Colours are the page's variables, so that they follow light and dark.

use std::fmt::Write as _;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 180.0;
const LEFT: f64 = 52.0;
const BOTTOM: f64 = 22.0;
const TOP: f64 = 10.0;
const RIGHT: f64 = 24.0;

/// A named line: points of x and y.
pub type Line<'a> = (&'a str, Vec<(f64, f64)>);

/// A chart of lines over seconds, from 0 up.
#[must_use]
pub fn lines(title: &str, unit: &str, lines: &[Line<'_>]) -> String {
    let points = || lines.iter().flat_map(|(_, points)| points);
    let last = points().map(|(x, _)| *x).fold(1.0, f64::max);
    let top = nice(points().map(|(_, y)| *y).fold(1.0, f64::max));
    let x = |value: f64| LEFT + value / last * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| TOP + (1.0 - value / top) * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!("<figure><figcaption>{title} <small>{unit}</small>");
    for (at, (name, _)) in lines.iter().enumerate().filter(|_| lines.len() > 1) {
        let _ = write!(svg, " <span class=\"key\"><i style=\"background:var(--line{at})\"></i>{name}</span>");
    }
    let _ = write!(svg, "</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">");
    for step in 0..=4 {
        let value = top * f64::from(step) / 4.0;
        let at = y(value);
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
    for step in 0..=5 {
        let value = last * f64::from(step) / 5.0;
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{} s</text>",
            x(value),
            HEIGHT - 6.0,
            short(value)
        );
    }
    for (at, (_, points)) in lines.iter().enumerate() {
        let path: Vec<String> = points.iter().map(|(px, py)| format!("{:.1},{:.1}", x(*px), y(*py))).collect();
        let _ = write!(svg, "<polyline points=\"{}\" style=\"stroke:var(--line{at})\"/>", path.join(" "));
    }
    svg.push_str("</svg></figure>");
    svg
}

/// Horizontal bars of ratios to 1 (a mark), each with its text, as a file of its own that suits both themes.
#[must_use]
pub fn bars(title: &str, bars: &[(String, f64)]) -> String {
    let height = 60 + 34 * bars.len();
    let most = nice(bars.iter().map(|(_, value)| *value).fold(1.2, f64::max));
    let x = |value: f64| 230.0 + value / most * 400.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 720 {height}\" font-family=\"system-ui, sans-serif\" \
         font-size=\"14\"><style>text{{fill:#222}}rect{{fill:#3b6fd4}}line{{stroke:#888}}\
         @media(prefers-color-scheme:dark){{text{{fill:#ddd}}rect{{fill:#7ea6f5}}}}</style>\
         <text x=\"12\" y=\"24\" font-weight=\"600\">{title}</text>"
    );
    for (at, (name, value)) in bars.iter().enumerate() {
        let y = 44 + 34 * at;
        let _ = write!(
            svg,
            "<text x=\"220\" y=\"{}\" text-anchor=\"end\">{name}</text>\
             <rect x=\"230\" y=\"{y}\" width=\"{:.1}\" height=\"22\" rx=\"3\"/><text x=\"{:.1}\" y=\"{}\">{value:.2}×</text>",
            y + 16,
            x(*value) - 230.0,
            x(*value) + 8.0,
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
