/// The templates of a report, in Mustache. Three braces, for text that is not escaped, stand around the style sheet, inline
/// drawings and data URIs only.
enum ReportTemplate {
  static let page = """
    {{% CONTENT_TYPE:MARKUP}}<!DOCTYPE html>
    <html lang="en">
    <head>
    <meta charset="utf-8"/>
    <meta name="viewport" content="width=device-width, initial-scale=1"/>
    <meta name="color-scheme" content="light dark"/>
    <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:"/>
    <title>{{title}}</title>
    <link rel="icon" href="data:,"/>
    <style>{{{style}}}</style>
    </head>
    <body>
    <a class="skip" href="#main">Skip to the results</a>
    <header class="top"><div class="column">
    <p class="product">pbe-gpu report</p>
    <nav aria-label="On this page"><ul>{{#links}}<li><a href="#{{id}}">{{name}}</a></li>{{/links}}</ul></nav>
    </div></header>
    <main id="main" class="column" tabindex="-1">
    {{#overview}}<section class="overview" aria-labelledby="overview-title">
    <h1 id="overview-title">{{title}}</h1>{{>table}}</section>{{/overview}}
    {{#runs}}{{>run}}{{/runs}}
    </main>
    <footer class="column"><p>ACC: the share of clean test images classified right. ASR: the share of triggered test images,
    those of the target class left out, that get the attacker's label. RA: the share of the same images that get their true
    label. DER: (max(0, fall of ASR) - max(0, fall of ACC) + 1) / 2. Written by pbe-gpu {{version}}.</p></footer>
    </body>
    </html>

    """

  static let run = """
    {{% CONTENT_TYPE:MARKUP}}<article id="{{id}}" aria-labelledby="{{id}}-title">
    <div class="heading"><p class="kind">{{kind}} <span class="state {{stateClass}}">{{state}}</span></p>
    <h{{level}} id="{{id}}-title">{{name}}</h{{level}}>
    <p class="lead">{{headline}}</p></div>
    {{#hasProblems}}<div class="problems" role="note" aria-label="What is missing or damaged"><ul>
    {{#problems}}<li>{{.}}</li>{{/problems}}</ul></div>{{/hasProblems}}
    <dl class="tiles">{{#tiles}}<div class="tile"><dt><span class="name">{{name}}</span>
    <span class="meaning">{{meaning}}</span></dt><dd>{{#before}}<span class="before">{{before}}</span>
    <span class="arrow" aria-hidden="true">&#8594;</span><span class="hidden">, after: </span>{{/before}}
    <span class="after">{{after}}</span></dd></div>{{/tiles}}</dl>
    {{#sections}}<section id="{{id}}" aria-labelledby="{{id}}-title"><h{{sublevel}} id="{{id}}-title">{{title}}</h{{sublevel}}>
    {{#text}}<p class="text">{{.}}</p>{{/text}}
    {{#hasFigures}}<div class="figures">{{#figures}}<figure>{{{svg}}}<figcaption>{{caption}}</figcaption></figure>
    {{/figures}}{{#tables}}{{>table}}{{/tables}}</div>{{/hasFigures}}
    {{#pictures}}<figure class="sheet"><div class="picture"><ol aria-hidden="true">{{#rows}}<li>{{.}}</li>{{/rows}}</ol>
    <img src="{{{source}}}" alt="{{alternative}}" width="{{width}}" height="{{height}}"/></div>
    {{#table}}{{>table}}{{/table}}<figcaption>{{caption}}</figcaption></figure>{{/pictures}}
    {{#hasLists}}<div class="lists">{{#lists}}<div class="list"><h{{listlevel}}>{{title}}</h{{listlevel}}><dl>
    {{#items}}<div><dt>{{name}}</dt><dd>{{value}}</dd></div>{{/items}}</dl></div>{{/lists}}</div>{{/hasLists}}
    </section>
    {{/sections}}</article>

    """

  static let table = """
    {{% CONTENT_TYPE:MARKUP}}<div class="scroll" tabindex="0" role="region" aria-label="{{caption}}"><table>
    <caption>{{caption}}</caption><thead><tr><th scope="col">{{corner}}</th>
    {{#columns}}<th scope="col">{{.}}</th>{{/columns}}</tr></thead><tbody>
    {{#rows}}<tr><th scope="row">{{#link}}<a href="#{{link}}">{{name}}</a>{{/link}}{{^link}}{{name}}{{/link}}</th>
    {{#cells}}<td>{{.}}</td>{{/cells}}</tr>{{/rows}}</tbody></table></div>
    """
}
