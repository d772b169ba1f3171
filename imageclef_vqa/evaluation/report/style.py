"""The report's style sheet: two colour schemes, one column, no fonts or pictures from elsewhere."""

STYLE = """
:root { color-scheme: light dark; --page: #faf9f6; --card: #fff; --ink: #1d2328; --soft: #59636e; --line: #e3e0d9;
  --mine: #0b7285; --base: #a9b0b8; --bad: #a61e4d; --frozen: #3b6fb6; --trained: #b35c00; }
@media (prefers-color-scheme: dark) { :root { --page: #14171a; --card: #1c2024; --ink: #e7e9eb; --soft: #a8b0b9;
  --line: #343a41; --mine: #3bc9db; --base: #6b747e; --bad: #faa2c1; --frozen: #8ab4f0; --trained: #f0a860; } }
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; }
body { margin: 0; background: var(--page); color: var(--ink); font: 1rem/1.55 system-ui, sans-serif; }
main, header, footer { max-width: 64rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 2rem; } footer { padding-block: 3rem 2rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.35rem; margin: 3.5rem 0 .75rem; padding-top: .75rem; border-top: 2px solid var(--ink); }
h3 { font-size: 1.05rem; margin: 2.25rem 0 .5rem; }
p { margin: .5rem 0; max-width: 44rem; } .soft, caption, footer, .tick { color: var(--soft); }
.lead { font-size: 1.1rem; font-weight: 600; }
a { color: var(--mine); } code { font-size: .85em; overflow-wrap: anywhere; }
.skip { position: absolute; left: -99rem; } .skip:focus { left: 1rem; top: .5rem; background: var(--card); padding: .5rem; }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; padding: 0; margin: 1rem 0; list-style: none; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(16rem, 1fr)); gap: 1rem; padding: 0; margin: 1.5rem 0; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: 1rem 1.25rem; list-style: none; }
.tile strong { display: block; font-size: 2.6rem; line-height: 1.15; font-variant-numeric: tabular-nums; letter-spacing: -.02em; }
.scroll { overflow-x: auto; }
:focus-visible { outline: 2px solid var(--mine); outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .95rem; }
caption { text-align: left; padding: .25rem 0 .5rem; font-size: .9rem; max-width: calc(100vw - 2.5rem); }
th, td { text-align: left; vertical-align: top; padding: .4rem .75rem .4rem 0; border-bottom: 1px solid var(--line); }
thead th { color: var(--soft); font-weight: 600; vertical-align: bottom; font-size: .85rem; }
tbody th { font-weight: 400; min-width: 9rem; } tbody tr > :last-child, thead tr > :last-child, tfoot tr > :last-child { padding-right: 0; }
td .soft { font-size: .85em; } tfoot th, tfoot td { font-weight: 700; border-bottom: 0; }
.number { text-align: right; white-space: nowrap; } thead .number { white-space: normal; }
.matrix { width: auto; min-width: min(100%, 32rem); } .matrix td { min-width: 2.4rem; padding: .3rem .4rem; } .matrix th { font-size: .85rem; max-width: 22rem; }
.matrix thead th { padding-right: .4rem; } .matrix thead tr > :last-child, .matrix tbody tr > :last-child { padding-right: .4rem; }
.none { color: var(--soft); opacity: .6; }
.good1 { background: color-mix(in srgb, var(--mine) 10%, transparent); } .bad1 { background: color-mix(in srgb, var(--bad) 7%, transparent); }
.good2 { background: color-mix(in srgb, var(--mine) 18%, transparent); } .bad2 { background: color-mix(in srgb, var(--bad) 14%, transparent); }
.good3 { background: color-mix(in srgb, var(--mine) 26%, transparent); } .bad3 { background: color-mix(in srgb, var(--bad) 21%, transparent); }
.good4 { background: color-mix(in srgb, var(--mine) 34%, transparent); } .bad4 { background: color-mix(in srgb, var(--bad) 28%, transparent); }
.good5 { background: color-mix(in srgb, var(--mine) 42%, transparent); } .bad5 { background: color-mix(in srgb, var(--bad) 36%, transparent); }
svg.bar { display: block; width: 100%; max-width: 22rem; height: .75rem; margin-top: .25rem; }
svg .track { fill: var(--line); } svg .base { fill: var(--base); } svg .mine { fill: var(--mine); }
svg.bar .mine { fill: color-mix(in srgb, var(--mine) 50%, var(--page)); }
svg .range { stroke: var(--ink); stroke-width: 1.5; }
figure { margin: 1rem 0; } svg.chart { display: block; width: 100%; height: auto; max-width: 44rem; }
svg text { font: 12px system-ui, sans-serif; fill: var(--ink); } svg .tick { fill: var(--soft); }
svg .grid { stroke: var(--line); } svg .ideal { stroke: var(--soft); stroke-dasharray: 4 4; }
svg .curve { fill: none; stroke: var(--mine); stroke-width: 2; }
svg .curve.frozen { stroke: var(--frozen); } svg .curve.trained { stroke: var(--trained); }
svg .dot.frozen { fill: var(--frozen); } svg .dot.trained { fill: var(--trained); } svg .ours { fill: var(--mine); }
.frozen-text { color: var(--frozen); } .trained-text { color: var(--trained); } .ours-text { color: var(--mine); }
.curves { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: 1rem; padding: 0; list-style: none; }
.curves li { font-size: .85rem; } svg.small { display: block; width: 7rem; height: 7rem; margin-bottom: .25rem; }
svg .frame { fill: none; stroke: var(--line); }
details { border-top: 1px solid var(--line); padding: .55rem 0; } details:last-of-type { border-bottom: 1px solid var(--line); }
summary { cursor: pointer; }
#filters { display: flex; flex-wrap: wrap; gap: .75rem 1rem; align-items: end; margin: 1rem 0; padding: 1rem 1.25rem;
  background: var(--card); border: 1px solid var(--line); border-radius: .6rem; }
#filters label { display: grid; grid-template-columns: minmax(0, 1fr); gap: .2rem; font-size: .85rem; color: var(--soft); max-width: 100%; }
select, input, button { font: inherit; color: var(--ink); background: var(--page); border: 1px solid var(--soft);
  border-radius: .35rem; padding: .35rem .5rem; max-width: 100%; min-height: 2.4rem; }
button { cursor: pointer; padding-inline: 1rem; } ::placeholder { color: var(--soft); opacity: 1; }
#cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(17.5rem, 1fr)); gap: 1rem; padding: 0; list-style: none; align-items: start; }
#cards article { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: 1rem; }
#cards figure { display: flex; gap: .75rem; align-items: end; margin: 0 0 .5rem; }
#cards figcaption { display: grid; font-size: .8rem; min-width: 0; }
#cards img, .blank { display: block; max-width: 9rem; border-radius: .35rem; background: var(--line); }
.blank { width: 6rem; height: 5rem; display: grid; place-items: center; color: var(--soft); font-size: .8rem; flex: none; }
#cards ul { list-style: none; padding: 0; margin: 0 0 .25rem; }
#cards li li { padding: .45rem 0; border-top: 1px solid var(--line); font-size: .9rem; line-height: 1.4; overflow-wrap: anywhere; }
#cards .q { display: block; color: var(--soft); } .wrong .given { color: var(--bad); font-weight: 600; }
#cards .gold { font-weight: 600; }
#cards details { padding: .4rem 0 0; border-bottom: 0; font-size: .9rem; } #cards details ul { margin-top: .5rem; }
#more { display: block; margin: 1.5rem auto; } [hidden]#more, [hidden]#filters { display: none; }
@media (max-width: 42rem) { .wide { display: none; } th, td { padding-right: .5rem; } table { font-size: .9rem; }
  .matrix tbody th { position: sticky; left: 0; background: var(--page); width: 9rem; }
  figure { overflow-x: auto; } svg.chart[viewBox^="0 0 680"] { min-width: 34rem; }
  #filters label { flex: 1 1 100%; } #cards { grid-template-columns: 1fr; } .lead { font-size: 1rem; } }
@media print { #filters, #more { display: none; } }
"""
