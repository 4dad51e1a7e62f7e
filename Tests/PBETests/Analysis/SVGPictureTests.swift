import Foundation
import Testing

#if canImport(FoundationXML)
  import FoundationXML
#endif

@testable import PBE

/// The pictures are well-formed XML, say what they show, and escape what they are given.
struct SVGPictureTests {
  /// The elements of a document and their texts; `nil` where it is no XML.
  private final class Reader: NSObject, XMLParserDelegate {
    var names: [String] = []
    var texts: [String: String] = [:]
    private var open: [String] = []

    static func read(_ svg: String) -> Reader? {
      let (reader, parser) = (Reader(), XMLParser(data: Data(svg.utf8)))
      parser.delegate = reader
      return parser.parse() ? reader : nil
    }

    func parser(
      _ parser: XMLParser, didStartElement name: String, namespaceURI: String?, qualifiedName: String?,
      attributes: [String: String]
    ) {
      names.append(name)
      open.append(name)
    }

    func parser(
      _ parser: XMLParser, didEndElement name: String, namespaceURI: String?, qualifiedName: String?
    ) {
      open.removeLast()
    }

    func parser(_ parser: XMLParser, foundCharacters text: String) {
      if let name = open.last { texts[name, default: ""] += text }
    }
  }

  @Test func heatMap() throws {
    let hostile = "<script>alert(\"&\")</script>\u{1B}[0m"
    let map = MatrixPicture(
      title: hostile, description: "what it shows", rows: "label", columns: "answer",
      panels: [.init(hostile, [[0.25, 0.75], [1, 0]]), .init("b", [[0, 1], [-0.5, 2]])])
    let svg = try #require(Reader.read(map.svg))
    #expect(!svg.names.contains("script") && svg.names.count { $0 == "rect" } == 9)
    #expect(svg.texts["desc"] == "what it shows")
    #expect(svg.texts["title"]?.contains("<script>") == true)
    #expect(svg.texts["text"]?.contains("75") == true)
    // More classes than numbers have room for.
    let many = [[Double]](repeating: Array(repeating: 1 / 43.0, count: 43), count: 43)
    let signs = MatrixPicture(
      title: "t", description: "d", rows: "r", columns: "c", panels: [.init("p", many)])
    #expect(Reader.read(signs.svg)?.names.count { $0 == "rect" } == 43 * 43 + 1)
  }

  @Test func boundPlot() throws {
    let checks = ClosedForm.checks()
    let svg = try #require(Reader.read(BoundPlot([("linear & exact", checks), ("other", checks)]).svg))
    #expect(svg.names.count { $0 == "circle" } == checks.count + 1)
    #expect(svg.names.count { $0 == "title" } == 2 * checks.count + 1)
    let violated = 2 * checks.count(where: \.isViolated)
    #expect(svg.texts["desc"]?.contains("\(violated) lie below") == true && violated > 0)
    #expect(Reader.read(BoundPlot([]).svg) != nil)
  }
}
