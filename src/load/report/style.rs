//! Colours and the style sheet of the page.
//!
//! Plotters writes colours as attributes (`fill="#2563EB"`). In the light those are the colours; in
//! the dark the sheet overrides each by a rule for exactly that attribute, so a drawing is left as
//! plotters made it and needs no script. That is why no two roles may share a light colour.

use std::fmt::Write as _;

use plotters::style::RGBColor;

/// A colour on light ground and on dark.
pub struct Colour {
    light: (u8, u8, u8),
    dark: (u8, u8, u8),
}

impl Colour {
    const fn new(light: (u8, u8, u8), dark: (u8, u8, u8)) -> Self {
        Self { light, dark }
    }

    /// On light ground.
    pub const fn light(&self) -> (u8, u8, u8) {
        self.light
    }

    /// What plotters draws with.
    pub const fn drawn(&self) -> RGBColor {
        RGBColor(self.light.0, self.light.1, self.light.2)
    }
}

/// Texts and axes.
pub const INK: Colour = Colour::new((0x33, 0x41, 0x55), (0xCB, 0xD5, 0xE1));
/// Grid lines.
pub const GRID: Colour = Colour::new((0xE2, 0xE8, 0xF0), (0x2C, 0x36, 0x46));
/// Series and parts of bars, in order; further ones begin again.
pub const SERIES: [Colour; 10] = [
    Colour::new((0x25, 0x63, 0xEB), (0x60, 0xA5, 0xFA)),
    Colour::new((0xE0, 0x7B, 0x0A), (0xFB, 0xB0, 0x40)),
    Colour::new((0x05, 0x96, 0x69), (0x34, 0xD3, 0x99)),
    Colour::new((0xC0, 0x26, 0x7E), (0xF4, 0x72, 0xB6)),
    Colour::new((0x7C, 0x3A, 0xED), (0xA7, 0x8B, 0xFA)),
    Colour::new((0x08, 0x91, 0xB2), (0x22, 0xD3, 0xEE)),
    Colour::new((0xB9, 0x1C, 0x1C), (0xF8, 0x71, 0x71)),
    Colour::new((0x65, 0xA3, 0x0D), (0xBE, 0xF2, 0x64)),
    Colour::new((0x92, 0x40, 0x0E), (0xD6, 0xA4, 0x78)),
    Colour::new((0x64, 0x74, 0x8B), (0x94, 0xA3, 0xB8)),
];

/// The sheet but for the colours.
const SHEET: &str = "
*{box-sizing:border-box}
:root{color-scheme:light dark;--ground:#F8FAFC;--card:#FFFFFF;--ink:#0F172A;--dim:#556376;--line:#E2E8F0;--mark:#2563EB}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}
main{max-width:808px;margin:0 auto;padding:32px 20px 48px}
h1{font-size:28px;line-height:1.2;margin:0;letter-spacing:-.01em;overflow-wrap:anywhere}
h2{font-size:18px;line-height:1.3;margin:0}
p{margin:0;overflow-wrap:anywhere}
.subtitle,.reading,.axis,dt,figcaption{color:var(--dim)}
.subtitle{margin-top:6px}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:24px 0 0;padding:0;list-style:none}
.figures li{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:14px 16px;overflow-wrap:anywhere}
.figures b{display:block;font-size:24px;line-height:1.2;font-variant-numeric:tabular-nums;letter-spacing:-.01em}
.figures span{display:block;margin-top:2px;font-size:13px;line-height:1.35;color:var(--dim)}
.verdict{margin-top:16px;padding:12px 16px;border-left:4px solid var(--mark);background:var(--card);border-radius:0 10px 10px 0}
.verdict p+p{margin-top:6px}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:20px;margin-top:20px}
.reading{margin-top:4px;font-size:14px}
figure{margin:16px 0 0}
.legend{display:flex;flex-wrap:wrap;gap:4px 16px;margin:0 0 8px;padding:0;list-style:none;font-size:13px}
.legend i{display:inline-block;width:12px;height:12px;border-radius:3px;margin-right:6px;vertical-align:-1px}
.axis{font-size:13px;margin-bottom:2px}
.axis.x{text-align:center}
svg{display:block;width:100%;height:auto;overflow:visible}
svg text{paint-order:stroke;stroke:var(--card);stroke-width:4px;font-family:inherit;font-variant-numeric:tabular-nums}
.narrow{display:none}
details{margin-top:12px;font-size:14px}
summary{cursor:pointer;color:var(--dim)}
.scroll{overflow-x:auto;max-height:420px}
table{border-collapse:collapse;width:100%;margin-top:8px;font-size:14px;font-variant-numeric:tabular-nums}
th,td{padding:5px 8px;border-top:1px solid var(--line);text-align:right;vertical-align:top;overflow-wrap:anywhere}
th{font-weight:500}
thead th{border-top:0;color:var(--dim);font-size:13px}
th:first-child,td:first-child{text-align:left;padding-left:0}
th:last-child,td:last-child{padding-right:0}
.scroll td{white-space:nowrap}
.scroll th{overflow-wrap:break-word}
.part{padding-left:20px!important;color:var(--dim)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:4px 20px;margin:12px 0 0;font-size:14px}
dd{margin:0;overflow-wrap:anywhere;min-width:0}
code{font:13px/1.5 ui-monospace,'SF Mono',Menlo,Consolas,monospace}
@media (max-width:559px){
main{padding:20px 12px 32px}h1{font-size:23px}section{padding:16px 14px}
.wide{display:none}.narrow{display:block}
.figures{grid-template-columns:1fr 1fr;gap:8px}.figures li{padding:10px 12px}.figures b{font-size:20px}
dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:8px}
}
@media print{
:root{color-scheme:light}
body{background:#FFF;font-size:12px}main{max-width:none;padding:0}
section,.figures li{break-inside:avoid}section{border:0;padding:8px 0}
.wide{display:block}.narrow{display:none}.wide svg{max-width:680px}
.scroll{max-height:none;overflow:visible}
}
";

/// The whole style sheet.
pub fn sheet() -> String {
    let mut sheet = SHEET.to_owned();
    // Writing to a String cannot fail.
    for (at, colour) in SERIES.iter().enumerate() {
        let _ = writeln!(sheet, ".s{at}{{background:{}}}", hex(colour.light));
    }
    let mut dark =
        ":root{--ground:#0B1120;--card:#131B2C;--ink:#E2E8F0;--dim:#94A3B8;--line:#263145;--mark:#60A5FA}\n"
            .to_owned();
    for (at, colour) in SERIES.iter().enumerate() {
        let _ = writeln!(dark, ".s{at}{{background:{}}}", hex(colour.dark));
    }
    sheet.push_str(&dark_drawing(&dark));
    sheet
}

/// The rules that hold in the dark: `rules`, and those for what plotters draws.
pub fn dark_drawing(rules: &str) -> String {
    // Paper is light, whatever the screen was.
    let mut sheet = format!("@media screen and (prefers-color-scheme:dark){{\n{rules}");
    for Colour { light, dark } in SERIES.iter().chain([&INK, &GRID]) {
        let (light, dark) = (hex(*light), hex(*dark));
        let _ = writeln!(sheet, "[fill=\"{light}\"]{{fill:{dark}}}[stroke=\"{light}\"]{{stroke:{dark}}}");
    }
    sheet.push_str("}\n");
    sheet
}

/// A colour as HTML and SVG write it.
pub fn hex((r, g, b): (u8, u8, u8)) -> String {
    format!("#{r:02X}{g:02X}{b:02X}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_role_has_a_light_colour_of_its_own_so_that_the_dark_can_tell_them_apart() {
        let roles = || SERIES.iter().chain([&INK, &GRID]);
        assert_eq!(roles().map(|colour| colour.light).collect::<BTreeSet<_>>().len(), roles().count());
    }

    #[test]
    fn braces_of_the_sheet_are_balanced_and_it_loads_nothing() {
        let sheet = sheet();
        assert_eq!(sheet.matches('{').count(), sheet.matches('}').count());
        assert!(!sheet.contains("url(") && !sheet.contains("@import") && !sheet.contains('<'));
    }
}
