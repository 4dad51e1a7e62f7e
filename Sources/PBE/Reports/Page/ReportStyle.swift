/// The style sheet of a report. The three colours of series (Okabe and Ito's orange, blue and purple, darkened or lightened
/// for contrast) differ for every kind of colour vision, and marks differ in shape.
enum ReportStyle {
  static let sheet = """
    :root{color-scheme:light dark;--paper:#fbfbf9;--panel:#fff;--ink:#1d2125;--soft:#575f68;--rule:#dcdfe0;--grid:#e9ebec;
    --s0:#b34700;--s1:#0b5f9e;--s2:#6b3f93;--note:#fff4e0;--noteink:#5c3a00;--focus:#0b5f9e;
    --heat:#572b7e;--cell:#000;--cellinverse:#fff}
    @media (prefers-color-scheme:dark){:root{--paper:#14171a;--panel:#1b1f23;--ink:#e8eaec;--soft:#a7afb8;--rule:#353b41;
    --grid:#2a2f34;--s0:#f0995a;--s1:#6fb3ec;--s2:#c3a0ea;--note:#33280f;--noteink:#f4d79b;--focus:#8cc7f7;
    --heat:#ae8fd1;--cell:#fff;--cellinverse:#000}}
    *{box-sizing:border-box}
    html{scroll-behavior:smooth}
    @media (prefers-reduced-motion:reduce){html{scroll-behavior:auto}}
    body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,
    "Helvetica Neue",Arial,sans-serif;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
    .column{max-width:72rem;margin:0 auto;padding:0 1.5rem}
    a{color:var(--s1)}
    :focus-visible{outline:3px solid var(--focus);outline-offset:2px;border-radius:2px}
    main:focus{outline:none}
    .skip{position:absolute;left:-999rem;background:var(--panel);padding:.5rem 1rem;z-index:1}
    .skip:focus{left:.5rem;top:.5rem}
    .hidden{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
    .top{border-bottom:1px solid var(--rule)}
    .top .column{display:flex;flex-wrap:wrap;gap:.25rem 2rem;align-items:baseline;padding-top:.75rem;padding-bottom:.75rem}
    .product{margin:0;font-weight:600;letter-spacing:.01em}
    nav ul{display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;list-style:none;margin:0;padding:0}
    nav a{text-decoration:none}nav a:hover{text-decoration:underline}
    h1,h2,h3,h4{line-height:1.2;font-weight:650;margin:0;unicode-bidi:isolate;text-wrap:balance}
    .heading h1,.heading h2{font-size:2rem}
    .overview{padding-top:3rem}.overview h1{font-size:2rem;margin-bottom:1.5rem}
    article{padding:3rem 0 1rem}article+article{border-top:1px solid var(--rule)}
    .kind{margin:0 0 .35rem;color:var(--soft)}
    .state{display:inline-block;margin-left:.5rem;padding:0 .6rem;border:1px solid currentColor;border-radius:1rem;
    font-size:.8rem}
    .state.partial{color:var(--s0)}
    .lead{font-size:1.25rem;line-height:1.45;max-width:46rem;margin:.75rem 0 0;text-wrap:pretty}
    .problems{background:var(--note);color:var(--noteink);border-radius:.5rem;padding:.75rem 1rem;margin-top:1.25rem;
    max-width:46rem}
    .problems ul{margin:0;padding-left:1.1rem}
    .tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(15rem,1fr));gap:1rem;margin:2rem 0 0}
    .tile{background:var(--panel);border:1px solid var(--rule);border-radius:.6rem;padding:1rem 1.2rem}
    .tile dt{display:flex;gap:.5rem;align-items:baseline}
    .tile .name{font-weight:650}.tile .meaning{color:var(--soft);font-size:.85rem}
    .tile dd{margin:.35rem 0 0;font-size:1.35rem;line-height:1.2;font-weight:600;white-space:nowrap}
    .tile .before{color:var(--s0)}.tile .after{color:var(--s1)}.tile .arrow{color:var(--soft);font-weight:400;margin:0 .2rem}
    section{margin-top:3rem}
    section>h2,section>h3{font-size:1.3rem;margin-bottom:1rem}
    .text{max-width:46rem;margin:0 0 1.25rem;color:var(--soft)}
    .figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,27rem),1fr));gap:1.5rem;align-items:start}
    figure{margin:0;min-width:0}
    .figures figure,.figures .scroll,.sheet{background:var(--panel);border:1px solid var(--rule);border-radius:.6rem;
    padding:1rem 1.2rem}
    figcaption{color:var(--soft);font-size:.9rem;margin-top:.5rem}
    svg{display:block;width:100%;height:auto;max-height:46rem}
    svg text{font:12.5px system-ui,-apple-system,"Segoe UI",Roboto,Arial,sans-serif;fill:var(--soft)}
    svg .strong{fill:var(--ink);font-weight:600}svg .number{fill:var(--cell)}svg .inverse{fill:var(--cellinverse)}
    svg .small{font-size:9px}
    .f0{fill:var(--s0)}.f1{fill:var(--s1)}.f2{fill:var(--s2)}.heat{fill:var(--heat)}.empty{fill:none;stroke:var(--grid)}
    .line{fill:none;stroke-width:2.25;stroke-linejoin:round}
    .l0{stroke:var(--s0)}.l1{stroke:var(--s1)}.l2{stroke:var(--s2)}
    .mark{stroke:var(--panel);stroke-width:1.5}
    .grid{stroke:var(--grid);fill:none}.axis{stroke:var(--soft);fill:none}.dashed{stroke-dasharray:4 4}
    .threshold{stroke:var(--ink);stroke-width:1.5;stroke-dasharray:5 3;fill:none}
    .scroll{overflow-x:auto}
    table{border-collapse:collapse;font-size:.92rem;min-width:100%}
    caption{text-align:left;color:var(--soft);padding-bottom:.5rem}
    th,td{padding:.32rem .7rem .32rem 0;text-align:right;border-bottom:1px solid var(--grid);unicode-bidi:isolate;
    vertical-align:baseline;overflow-wrap:normal}
    th:first-child{text-align:left}thead th{color:var(--soft);font-weight:500}tbody th{font-weight:500}
    tbody tr:last-child>*{border-bottom:0}tr>:last-child{padding-right:0}tbody th{min-width:4rem}.figures tbody th{min-width:8rem}
    .sheet{margin-top:1.5rem}
    .picture{display:grid;grid-template-columns:11rem 1fr;gap:.5rem;align-items:stretch}
    .picture ol{list-style:none;margin:0;padding:0;display:grid;grid-auto-rows:1fr;font-size:.85rem;color:var(--soft);
    line-height:1.2}
    .picture li{display:flex;align-items:center}
    .picture img{width:100%;height:auto;max-width:56rem;image-rendering:pixelated}
    .sheet .scroll{margin-top:1rem}
    .sheet table{table-layout:fixed;width:100%;min-width:44rem;font-size:.82rem}
    .sheet th,.sheet td{text-align:center;padding:.3rem .15rem}
    .sheet th:first-child{width:11.5rem;text-align:left;overflow-wrap:anywhere}
    .lists{columns:2 24rem;column-gap:3rem}.figures+.lists{margin-top:1.5rem}
    .list{break-inside:avoid-column;margin-bottom:1.5rem}
    .list h3,.list h4{font-size:1rem;margin-bottom:.4rem}
    .list dl{margin:0}
    .list dl>div{display:grid;grid-template-columns:minmax(8rem,1fr) 1fr;gap:1rem;padding:.22rem 0;
    border-bottom:1px solid var(--grid);font-size:.92rem}
    .list dt{color:var(--soft)}.list dd{margin:0;unicode-bidi:isolate}
    footer{color:var(--soft);font-size:.85rem;padding-top:2rem;padding-bottom:3rem}
    footer p{border-top:1px solid var(--rule);padding-top:1rem;max-width:none}
    @media (max-width:40rem){.picture{grid-template-columns:1fr}.picture ol{display:none}.heading h1,.heading h2{font-size:1.6rem}}
    @media print{:root{--paper:#fff;--panel:#fff;--ink:#000;--soft:#444;--rule:#bbb;--grid:#ddd;--s0:#b34700;--s1:#0b5f9e;
    --s2:#6b3f93;--note:#fff;--noteink:#000;--heat:#572b7e;--cell:#000;--cellinverse:#fff;color-scheme:light}
    body{font-size:9.5pt}nav,.skip{display:none}.column{max-width:none;padding:0}article{padding-top:1rem}
    section{margin-top:1.5rem}figure,.tile,.list,.scroll,tr{break-inside:avoid}h1,h2,h3,h4,.text{break-after:avoid}
    .heading h1,.heading h2{font-size:18pt}.lead{font-size:12pt}.tile dd{font-size:11pt}.tile{padding:.5rem .7rem}
    .tiles{grid-template-columns:repeat(4,1fr);gap:.5rem}.tile dt{display:block}.tile .meaning{display:block}
    .figures{grid-template-columns:1fr 1fr;gap:.75rem}.scroll{overflow:visible}table{font-size:7.5pt}
    th,td{padding-right:.4rem}.sheet table{min-width:0;font-size:6.5pt}.sheet{margin-top:.75rem}
    .lists{columns:2 15rem}.list dl>div{font-size:8pt;grid-template-columns:1fr 1fr}
    *{-webkit-print-color-adjust:exact;print-color-adjust:exact}a{color:inherit;text-decoration:none}}
    """
}
