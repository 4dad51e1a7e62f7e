/// What the templates of a report are filled with. Texts are escaped by the templates; only ``FigureView/svg`` and
/// ``PictureView/source`` go in as they are.
struct PageView {
  var title: String
  var style: String
  var version: String
  var overview: TableView?
  var links: [LinkView]
  var runs: [RunView]
}

/// A link within the page.
struct LinkView {
  var id: String, name: String
}

/// One run.
struct RunView {
  var id: String
  var name: String
  /// What it is: an erasing, an infection.
  var kind: String
  /// Finished, or not; and the class of the style for it.
  var state: String, stateClass: String
  var problems: [String], hasProblems: Bool
  /// The result in one or two sentences.
  var headline: String
  var tiles: [TileView]
  var sections: [SectionView]
}

/// A number that the run is about, before and after.
struct TileView {
  var name: String
  /// What the name stands for.
  var meaning: String
  var before: String?
  var after: String
}

/// A part of a run's report.
struct SectionView {
  var id: String
  var title: String
  var text: String?
  var figures: [FigureView] = [] { didSet { hasFigures = true } }
  var pictures: [PictureView] = []
  var tables: [TableView] = [] { didSet { hasFigures = true } }
  var lists: [ListView] = [] { didSet { hasLists = !lists.isEmpty } }
  // Templates see what is stored, not what is computed.
  private(set) var hasFigures = false, hasLists = false

  var isEmpty: Bool { !hasFigures && !hasLists && pictures.isEmpty && text == nil }

  init(id: String, title: String) {
    self.id = id
    self.title = title
  }
}

/// A chart.
struct FigureView {
  /// An `svg` element.
  var svg: String
  var caption: String

  init(_ chart: some Chart, id: String) {
    svg = chart.drawing.element(id: id, title: chart.title, description: chart.description)
    caption = chart.title
  }
}

/// A contact sheet.
struct PictureView {
  /// A data URI.
  var source: String
  var alternative: String
  var caption: String
  var width: Int, height: Int
  /// What its rows show.
  var rows: [String]
  /// What is known of its columns.
  var table: TableView?
}

/// A table; the first cell of each row is its heading.
struct TableView {
  struct Row {
    var name: String
    /// The part of the page that the row is about.
    var link: String?
    var cells: [String]
  }

  var caption: String
  var corner: String
  var columns: [String]
  var rows: [Row]
}

/// Names and values.
struct ListView {
  struct Item {
    var name: String, value: String
  }

  var title: String
  var items: [Item]

  /// `nil` when there is nothing in it.
  init?(_ title: String, _ items: [(String, String?)]) {
    self.title = title
    self.items = items.compactMap { name, value in
      value.map { Item(name: name, value: $0.isEmpty ? "none" : $0) }
    }
    if self.items.isEmpty { return nil }
  }
}
