"""How the reports look: light or dark as the reader's system is, from a phone's width up."""

from typing import Final

CSS: Final = """
:root { color-scheme: light dark; --page: #fbfbfa; --card: #fff; --ink: #1c2024; --soft: #626a73; --line: #e4e6e8;
  --band: #f3f4f5; --met: #14743c; --met-wash: #e6f4ea; --missed: #b3261e; --missed-wash: #fcebe9;
  --c1: #2f6fce; --c2: #7fb2f0; --c3: #e08a3c; --c4: #f0c48f; --c5: #8a6fc8; --c6: #3a9d86; --c7: #9aa3ab; }
@media (prefers-color-scheme: dark) { :root { --page: #131518; --card: #1b1e22; --ink: #e8eaec; --soft: #9aa3ac;
  --line: #2e3338; --band: #20242a; --met: #6fce93; --met-wash: #16301f; --missed: #ff8d83; --missed-wash: #3a1b18;
  --c1: #5b97ee; --c2: #2f548a; --c3: #e39a55; --c4: #7d5a34; --c5: #a893e0; --c6: #55bfa5; --c7: #747d86; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 880px; margin: 0 auto; padding: 40px 20px 64px; }
h1 { font-size: clamp(26px, 5vw, 38px); line-height: 1.15; letter-spacing: -0.02em; margin: 0 0 6px; }
h2 { font-size: 17px; margin: 40px 0 12px; letter-spacing: -0.005em; }
p { margin: 0 0 10px; } .soft, figcaption, th { color: var(--soft); }
.lead { font-size: 16px; color: var(--soft); margin-bottom: 22px; }
.pill { display: inline-block; padding: 3px 11px; border-radius: 99px; font-size: 13px; font-weight: 600; margin-bottom: 14px; }
.pill.met { background: var(--met-wash); color: var(--met); } .pill.missed { background: var(--missed-wash); color: var(--missed); }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(190px, 1fr)); gap: 10px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 13px 15px; }
.card .name { font-size: 13px; color: var(--soft); } .card .value { font-size: 22px; font-weight: 650; letter-spacing: -0.015em;
  font-variant-numeric: tabular-nums; line-height: 1.3; overflow-wrap: anywhere; } .card .value.long { font-size: 15px; }
.card .wanted { font-size: 13px; color: var(--soft); } .card .mark { font-weight: 700; }
.mark.met { color: var(--met); } .mark.missed { color: var(--missed); }
figure { margin: 0 0 14px; background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 14px 14px 8px; }
figure h3 { font-size: 14.5px; margin: 0 4px 1px; font-weight: 620; } figure h3 span { font-weight: 400; color: var(--soft); }
.legend { display: flex; flex-wrap: wrap; gap: 2px 16px; font-size: 13px; color: var(--soft); margin: 2px 4px 6px; }
.legend i { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 6px; vertical-align: -1px; }
svg { display: block; width: 100%; height: auto; font: 11.5px system-ui, sans-serif; }
svg text { fill: var(--soft); } svg .grid { stroke: var(--line); } svg .axis { stroke: var(--soft); opacity: .55; }
svg .band { fill: var(--band); } svg .phase { font-size: 11px; } svg .curve { fill: none; stroke-width: 1.7; stroke-linejoin: round; }
svg .area { opacity: .85; } svg .wash { opacity: .13; } svg .limit { stroke: var(--missed); stroke-dasharray: 5 4; opacity: .8; }
svg .limit-label { fill: var(--missed); }
svg.narrow { display: none; } @media (max-width: 620px) { svg.wide { display: none; } svg.narrow { display: block; }
  main { padding: 24px 14px 48px; } .cards { grid-template-columns: repeat(2, 1fr); } .card .value { font-size: 18px; }
  figure { padding: 12px 8px 6px; } }
.table { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th { font-weight: 500; text-align: left; font-size: 13px; } th, td { padding: 6px 10px 6px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.number, th.number { text-align: right; white-space: nowrap; } tr.sum td { font-weight: 650; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 10px 13px; overflow-x: auto; font-size: 13px; }
details { margin-top: 8px; } summary { cursor: pointer; color: var(--soft); }
"""
