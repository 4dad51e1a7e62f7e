import Foundation
import FoundationXML
import Testing

@testable import PBE

/// Texts that try to be more than text.
enum Hostile {
  static let texts = [
    "<script>alert(1)</script>", "\" onmouseover=\"alert(1)", "' onfocus='alert(1)", "a & b &lt; c",
    "</title><img src=x>",
    // To Swift one character each: a quotation mark and a bracket with an accent.
    "\"\u{301} autofocus onfocus=alert(1) x=\"", "<\u{301}b>", "line\nbreak\u{0}\u{1b}[31m",
    "\u{202e}gnp.exe\u{200f}",
    "{{{style}}}", "]]>", String(repeating: "<long>&", count: 300),
  ]
}

@Suite struct MarkupTests {
  @Test func escapesWhatHTMLReads() {
    #expect(
      Markup.escaped("<a href=\"x\" b='y'>&</a>")
        == "&lt;a href=&quot;x&quot; b=&#39;y&#39;&gt;&amp;&lt;/a&gt;")
    #expect(Markup.escaped("ankle boot, 9 é 漢字") == "ankle boot, 9 é 漢字")
  }

  @Test(arguments: Hostile.texts) func leavesNothingThatMeansSomething(text: String) {
    let escaped = Markup.escaped(text)
    for scalar in ["<", ">", "\"", "'"] as [Unicode.Scalar] {
      #expect(!escaped.unicodeScalars.contains(scalar))
    }
    #expect(
      escaped.unicodeScalars.allSatisfy { ![.control, .format].contains($0.properties.generalCategory) })
    #expect(escaped.count <= 6 * Markup.longest + 10)
  }

  @Test func drawingsAreXML() throws {
    for text in Hostile.texts {
      var drawing = SVG(width: 100, height: .infinity)
      drawing.text(text, x: .nan, y: 1e300)
      drawing.rectangle(x: 0, y: 0, width: -1, height: .nan, class: "f0", opacity: .infinity)
      drawing.path([(.nan, -.infinity), (1, 2)], class: "line", isClosed: true)
      let element = drawing.element(id: "a", title: text, description: text)
      let parser = XMLParser(data: Data(element.utf8))
      #expect(parser.parse(), "\(text.prefix(40)): \(String(describing: parser.parserError))")
      for word in ["nan", "inf", "e+"] { #expect(!element.contains("\"\(word)")) }
    }
  }
}
