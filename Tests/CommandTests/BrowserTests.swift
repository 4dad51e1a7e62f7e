import Foundation
import Testing

/// Headless Chromium, which `scripts/install-dependencies --test` installs.
enum Browser {
  static let path = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].first {
    FileManager.default.isExecutableFile(atPath: $0)
  }

  /// Loads a page; returns what became of it, and what the browser's console says.
  static func load(
    _ file: String, in folder: Folder, _ options: [String] = [], action: String = "--dump-dom"
  ) throws -> (
    page: String, console: [String]
  ) {
    let path = try #require(self.path, "there is no Chromium: run scripts/install-dependencies --test")
    let process = Process()
    process.executableURL = URL(fileURLWithPath: path)
    process.arguments =
      [
        "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--enable-logging=stderr", "--v=0", "--window-size=1200,900",
        "--user-data-dir=\(folder["profile"])", "--virtual-time-budget=5000",
      ] + options + [action, URL(fileURLWithPath: file).absoluteString]
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = try folder.handle("page")
    process.standardError = try folder.handle("log")
    try process.run()
    process.waitUntilExit()
    try #require(process.terminationStatus == 0, "\(folder.text("log"))")
    let console = folder.text("log").split(separator: "\n").filter { $0.contains("CONSOLE") }
    return (folder.text("page"), console.map(String.init))
  }
}

extension CommandTests {
  /// The report as a browser shows it.
  @Suite(.serialized) struct BrowserTests {
    private let victim: Victim
    private let folder: Folder

    init() throws {
      victim = try Victim.shared.get()
      folder = try Folder()
    }

    private struct Measured: Decodable {
      struct Chart: Decodable {
        var title: String, description: String
        var width: Double, height: Double
        /// How many of its texts lie outside of it.
        var cut: Int
      }
      struct Picture: Decodable {
        var alternative: String
        var width: Double, natural: Double
      }
      var charts: [Chart], pictures: [Picture], requests: [String]
      var overflow: Double, first: String, background: String
    }

    /// What the script adds to a copy of the page, without the policy that would keep it from running.
    private static let script = """
      <pre id="measured"></pre><script>
      const inside = (svg, text) => {
        const a = svg.getBoundingClientRect(), b = text.getBoundingClientRect();
        return b.left >= a.left - 1 && b.right <= a.right + 1 && b.top >= a.top - 1 && b.bottom <= a.bottom + 1;
      };
      addEventListener("load", () => {
        const all = (selector) => [...document.querySelectorAll(selector)];
        const label = (svg, part) => svg.querySelector(part)?.textContent ?? "";
        document.getElementById("measured").textContent = btoa(unescape(encodeURIComponent(JSON.stringify({
          charts: all("svg").map((svg) => ({
            title: label(svg, "title"), description: label(svg, "desc"),
            width: svg.getBoundingClientRect().width, height: svg.getBoundingClientRect().height,
            cut: [...svg.querySelectorAll("text")].filter((text) => !inside(svg, text)).length,
          })),
          pictures: all("img").map((image) => ({
            alternative: image.alt, width: image.getBoundingClientRect().width, natural: image.naturalWidth,
          })),
          requests: performance.getEntriesByType("resource").map((entry) => entry.name)
            .filter((name) => !name.startsWith("data:")),
          overflow: document.documentElement.scrollWidth - innerWidth,
          first: document.querySelector("a, button, input, [tabindex]").textContent,
          background: getComputedStyle(document.body).backgroundColor,
        }))));
      });
      </script>
      """

    private func measure(_ html: String, _ options: [String] = []) throws -> Measured {
      let policy = try #require(
        html.range(of: #"<meta http-equiv="Content-Security-Policy"[^>]*>"#, options: .regularExpression))
      let copy = html.replacingCharacters(in: policy, with: "")
        .replacingOccurrences(of: "</body>", with: "\(Self.script)</body>")
      let page = try Browser.load(folder.write("measured.html", copy), in: folder, options).page
      let start = try #require(page.range(of: #"<pre id="measured">"#))
      let text = page[start.upperBound...].prefix { $0 != "<" }
      return try JSONDecoder().decode(Measured.self, from: try #require(Data(base64Encoded: String(text))))
    }

    /// An erasing with everything that a report shows.
    private func reported() throws -> String {
      let result = try Program.succeed(
        victim.erase + [
          "--attack", victim.attack, "--keep-rates", "0.5", "--relapse", "5", "--report", "--quiet",
          "--output",
          folder["run"],
        ])
      #expect(result.error.isEmpty)
      let html = folder.text("run/report.html")
      // The command says the same about the folder, byte for byte.
      _ = try Program.succeed(["report", folder["run"], "--output", folder["again.html"]])
      #expect(folder.text("again.html") == html)
      return html
    }

    @Test func showsChartsAndAsksForNothing() throws {
      let html = try reported()
      let (_, console) = try Browser.load(folder["run/report.html"], in: folder)
      #expect(console == [])
      for options in [[], ["--blink-settings=preferredColorScheme=0"], ["--window-size=420,900"]] {
        let found = try measure(html, options)
        // Rates, losses, two histograms, the ROC curve, times.
        #expect(found.charts.count == 6)
        for chart in found.charts {
          #expect(chart.width > 200 && chart.height > 50, "\(chart.title)")
          #expect(chart.title.count > 8 && chart.description.count > 20, "\(chart.title)")
          #expect(chart.cut == 0, "\(chart.title): texts lie outside")
        }
        #expect(found.pictures.count == 3)
        for picture in found.pictures {
          #expect(
            picture.width > 200 && picture.natural > 0 && picture.alternative.contains("10 images across"))
        }
        #expect(found.requests == [])
        #expect(found.overflow <= 0, "the page is wider than the window")
        #expect(found.first == "Skip to the results")
        let isDark = options.contains { $0.contains("preferredColorScheme") }
        #expect(found.background == (isDark ? "rgb(20, 23, 26)" : "rgb(251, 251, 249)"))
      }
    }

    /// What the test above looks for would be seen.
    @Test func seesRequestsAndErrors() throws {
      let policy = #"<meta http-equiv="Content-Security-Policy" content="default-src 'none'"/>"#
      let page =
        "<html><head>\(policy)</head><body><a href='#'>a</a><img src='http://127.0.0.1:9/a.png'></body></html>"
      #expect(try Browser.load(folder.write("bad.html", page), in: folder).console.count >= 1)
      #expect(try measure(page).requests == ["http://127.0.0.1:9/a.png"])
    }

    @Test func printsOnPaper() throws {
      let html = try reported()
      _ = try Browser.load(
        folder.write("paper.html", html), in: folder, action: "--print-to-pdf=\(folder["paper.pdf"])")
      let pdf = String(decoding: folder.data("paper.pdf"), as: UTF8.self)
      let pages = pdf.components(separatedBy: "/Type /Page\n").count - 1
      #expect((2...10).contains(pages), "\(pages) pages")
    }
  }
}
