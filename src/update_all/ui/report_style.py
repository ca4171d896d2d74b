"""How the report looks: light and dark, on a phone, on a wide screen and on paper."""

STYLE = """
:root{color-scheme:light dark;--bg:#fbfbfa;--card:#fff;--fg:#1c2024;--dim:#5a6169;--line:#dfe2e6;
--done:#2f855a;--failed:#c53030;--skipped:#5a6169;--blocked:#8a5a00;--running:#1a5fb4;--wait:#8a5a00;
--on:#fff;--code:#f1f2f4;--link:#1a5fb4;--sec:#7a2a8a}
@media (prefers-color-scheme:dark){:root{--bg:#14171a;--card:#1c2126;--fg:#e6e8ea;--dim:#a4acb5;
--line:#333a42;--done:#6cc593;--failed:#ff8f8f;--skipped:#a4acb5;--blocked:#e0b050;--running:#85b6ff;--wait:#e0b050;
--on:#14171a;--code:#14171a;--link:#85b6ff;--sec:#d9a0e8}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--fg);font:16px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
main,header,footer{max-width:76rem;margin:0 auto;padding:0 1rem}
header{padding-top:1.5rem}
h1{font-size:1.5rem;line-height:1.25;margin:0}
h2{font-size:1.15rem;margin:0 0 .75rem}
h3{font-size:1rem;margin:0 0 .35rem}
p{margin:.35rem 0}
section{background:var(--card);border:1px solid var(--line);border-radius:.6rem;padding:1rem;margin:1rem 0}
nav{display:flex;flex-wrap:wrap;gap:.25rem 1rem;margin:.75rem 0}
a{color:var(--link)}
:focus-visible{outline:3px solid var(--link);outline-offset:2px}
.skip{position:absolute;left:-99rem}
.skip:focus{left:1rem;top:.5rem;background:var(--card);padding:.5rem}
.dim{color:var(--dim)}
.state{font-weight:600;white-space:nowrap}
.state.done,.state.up-to-date{color:var(--done)}.state.failed{color:var(--failed)}
.state.running{color:var(--running)}
.state.skipped{color:var(--skipped)}.state.blocked,.state.waiting{color:var(--blocked)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(9rem,1fr));gap:.6rem;margin:1rem 0 0}
.tiles div{background:var(--card);border:1px solid var(--line);border-radius:.6rem;padding:.6rem .8rem}
dt{color:var(--dim);font-size:.85rem}
dd{margin:0}
.tiles dd{font-size:1.15rem;font-weight:600;line-height:1.3}
.tiles .state{white-space:normal}
.facts{display:grid;grid-template-columns:max-content 1fr;gap:.25rem 1rem;margin:0}
.facts dt{font-size:1rem}
table{border-collapse:collapse;width:100%;font-size:.95rem}
caption{text-align:left;font-weight:600;padding:.75rem 0 .25rem}
th,td{text-align:left;vertical-align:top;padding:.3rem .75rem .3rem 0;border-top:1px solid var(--line)}
th{font-weight:600}
td:first-child{min-width:6.5rem}
thead th{border-top:0;color:var(--dim);font-size:.85rem}
td.num{white-space:nowrap;font-variant-numeric:tabular-nums}
.changes{columns:30rem;column-gap:2rem}
.changes tr,.changes caption{break-inside:avoid}
.changes thead{position:absolute;left:-99rem}
.changes caption{padding-top:.25rem}
.changes td:first-child{width:40%}
.weight{color:var(--dim);white-space:nowrap}
.new{font-weight:600}
.badge{border:1px solid currentColor;border-radius:.3rem;padding:0 .3rem;font-size:.8rem;white-space:nowrap}
.badge.security{color:var(--sec)}
.scroll{overflow-x:auto}
.scroll table{min-width:34rem}
article{border-left:4px solid var(--failed);padding-left:.8rem;margin:0 0 1.25rem}
pre{background:var(--code);border:1px solid var(--line);border-radius:.4rem;padding:.6rem;margin:.5rem 0;
white-space:pre-wrap;overflow-wrap:anywhere;font:.85rem/1.45 ui-monospace,monospace}
code{font:.9em ui-monospace,monospace;background:var(--code);padding:.05rem .25rem;border-radius:.2rem}
summary{cursor:pointer;font-weight:600;padding:.4rem 0}
svg{display:block;width:100%;overflow:hidden;font:12px system-ui,sans-serif}
svg svg{width:auto}
svg text{fill:var(--fg)}
svg .tick{fill:var(--dim)}
svg .grid{stroke:var(--line)}
svg .axis{stroke:var(--dim)}
rect.done{fill:var(--done);stroke:var(--done)}rect.failed{fill:var(--failed);stroke:var(--failed)}
rect.skipped{fill:var(--skipped);stroke:var(--skipped)}rect.blocked{fill:var(--blocked);stroke:var(--blocked)}
rect.running{fill:var(--running);stroke:var(--running)}
rect.wide{stroke:var(--card)}
rect.wait{fill:none;stroke:var(--wait);stroke-width:1.5;stroke-dasharray:4 3}
svg text.on{fill:var(--on)}
polygon.steps{fill:var(--done);opacity:.75}polygon.waits{fill:var(--wait);opacity:.75}
.legend{display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;list-style:none;padding:0;margin:.5rem 0;
font-size:.9rem}
.key{display:inline-block;width:1.1rem;height:.75rem;border-radius:.15rem;margin-right:.35rem;
border:1.5px solid transparent}
.key.done{background:var(--done)}.key.failed{background:var(--failed)}.key.skipped{background:var(--skipped)}
.key.running{background:var(--running)}.key.blocked{background:var(--blocked)}
.key.wait{border:1.5px dashed var(--wait)}
footer{padding-bottom:2rem;color:var(--dim);font-size:.9rem}
@media (max-width:36rem){section{padding:.8rem .75rem}.facts{grid-template-columns:1fr;gap:0}
.facts dd{margin-bottom:.5rem}}
@media print{nav,.skip{display:none}section,article{break-inside:avoid;border-color:#999}}
"""
