//! Drawing: texts, lines, bars and circles in an SVG that is readable on light and on dark ground.

use std::fmt::Write;

/// A drawing that is being made. Coordinates are pixels from the top left corner.
pub(super) struct Drawing {
    width: f64,
    height: f64,
    body: String,
}

/// The classes that marks are drawn in.
const STYLE: &str = "\
svg{--ground:#fff;--ink:#1f2328;--faint:#d0d7de;--soft:#59636e;--main:#2f6feb;--other:#bc4c00}\
@media(prefers-color-scheme:dark){svg{--ground:#0d1117;--ink:#e6edf3;--faint:#30363d;--soft:#9198a1;\
--main:#6cb0ff;--other:#ffa657}}\
.ground{fill:var(--ground)}\
text{fill:var(--ink);font:12px system-ui,sans-serif}.soft{fill:var(--soft)}.title{font-weight:600;font-size:14px}\
.end{text-anchor:end}.middle{text-anchor:middle}\
.grid{stroke:var(--faint)}.main{fill:var(--main)}.other{fill:var(--other)}\
.dashed{fill:none;stroke:var(--main);stroke-width:1.5;stroke-dasharray:5 4}\
.ring{fill:none;stroke:var(--ink);stroke-width:2}";

impl Drawing {
    pub fn new(width: f64, height: f64) -> Self {
        Self { width, height, body: String::new() }
    }

    pub fn text(&mut self, (x, y): (f64, f64), class: &str, text: &str) {
        let text = escaped(text);
        let _ = writeln!(self.body, r#"<text x="{x:.1}" y="{y:.1}" class="{class}">{text}</text>"#);
    }

    pub fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), class: &str) {
        let _ = writeln!(
            self.body,
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" class="{class}"/>"#
        );
    }

    /// A bar that tells its text to whom points at it.
    pub fn bar(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), class: &str, told: &str) {
        let told = escaped(told);
        let _ = writeln!(
            self.body,
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" class="{class}"><title>{told}</title></rect>"#
        );
    }

    pub fn path(&mut self, points: &[(f64, f64)], class: &str) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(self.body, r#"<polyline points="{}" class="{class}"/>"#, points.join(" "));
    }

    /// A circle that tells its text to whom points at it.
    pub fn circle(&mut self, (x, y): (f64, f64), radius: f64, class: &str, told: &str) {
        let told = escaped(told);
        let _ = writeln!(
            self.body,
            r#"<circle cx="{x:.1}" cy="{y:.1}" r="{radius:.1}" class="{class}"><title>{told}</title></circle>"#
        );
    }

    /// The file.
    pub fn finish(self, title: &str) -> String {
        let Self { width, height, body } = self;
        let title = escaped(title);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-label=\"{title}\">\n<title>{title}</title>\n\
             <style>{STYLE}</style>\n<rect width=\"100%\" height=\"100%\" class=\"ground\"/>\n{body}</svg>\n"
        )
    }
}

/// A text as XML, without characters that XML cannot hold.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_hostile_model_stay_text() {
        let mut drawing = Drawing::new(10.0, 10.0);
        drawing.text((1.0, 2.0), "soft", "</text><script>\u{1b}&\"");
        drawing.bar((0.0, 0.0), (1.0, 1.0), "main", "<a>");
        let file = drawing.finish("a & b");
        assert!(file.contains("&lt;/text&gt;&lt;script&gt;\u{fffd}&amp;&quot;</text>"), "{file}");
        assert!(
            file.contains("<title>&lt;a&gt;</title>") && file.contains("aria-label=\"a &amp; b\""),
            "{file}"
        );
    }
}
