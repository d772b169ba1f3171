"""The report's style sheet: two colour schemes, one column, no fonts or pictures from elsewhere."""

STYLE = """
:root { color-scheme: light dark; --page: #fbfaf7; --card: #ffffff; --ink: #1b1f24; --soft: #545d68; --line: #dcdad3;
  --bar: #0b7285; --base: #a9b0b8; --bad: #a61e4d; }
@media (prefers-color-scheme: dark) { :root { --page: #14171a; --card: #1c2024; --ink: #e7e9eb; --soft: #a8b0b9;
  --line: #343a41; --bar: #3bc9db; --base: #6b747e; --bad: #faa2c1; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
main, header, footer { max-width: 60rem; margin: 0 auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: .5rem 0; } h2 { font-size: 1.25rem; margin: 2rem 0 .5rem; } h3 { font-size: 1rem; }
p { margin: .5rem 0; max-width: 45rem; } .soft, caption, footer { color: var(--soft); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); gap: 1rem; padding: 0; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: 1rem; list-style: none; }
.tile strong { display: block; font-size: 2.25rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; } .scroll:focus-visible, summary:focus-visible { outline: 2px solid var(--bar); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: .25rem 0 .5rem; }
th, td { text-align: left; vertical-align: top; padding: .4rem .6rem .4rem 0; border-bottom: 1px solid var(--line);
  overflow-wrap: anywhere; }
thead th { color: var(--soft); font-weight: 600; overflow-wrap: normal; vertical-align: bottom; }
tbody th { font-weight: 400; }
tfoot th, tfoot td { font-weight: 700; border-bottom: 0; }
.number { text-align: right; white-space: nowrap; } thead .number { white-space: normal; }
.text { min-width: 7rem; }
svg.bar { display: block; width: 100%; max-width: 20rem; height: .75rem; margin-top: .25rem; }
.bar .track { fill: var(--line); } .bar .base { fill: var(--base); } .bar .mine { fill: var(--bar); }
.bar .range { stroke: var(--ink); stroke-width: 1.5; }
details { border-top: 1px solid var(--line); padding: .5rem 0; } summary { cursor: pointer; }
.given { color: var(--bad); }
nav a, a { color: var(--bar); }
@media (max-width: 40rem) { .wide { display: none; } th, td { padding-right: .4rem; font-size: .9rem; } }
"""
