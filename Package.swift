// swift-tools-version: 6.1
import PackageDescription

let package = Package(
  name: "pbe-gpu",
  platforms: [.macOS(.v15)],
  products: [
    .executable(name: "pbe-gpu", targets: ["pbe-gpu"]),
    .library(name: "PBE", targets: ["PBE"]),
    .library(name: "Kernels", targets: ["Kernels"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/hummingbird-project/swift-mustache", from: "2.1.1"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
  ],
  targets: [
    // MARK: - C and system libraries

    .target(name: "COpenCL", linkerSettings: [.linkedLibrary("dl", .when(platforms: [.linux]))]),
    .systemLibrary(
      name: "COpenBLAS", pkgConfig: "openblas",
      providers: [.apt(["libopenblas-dev"]), .brew(["openblas"])]),
    .systemLibrary(
      name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"]), .brew(["zlib"])]),
    .systemLibrary(
      name: "CPNG", pkgConfig: "libpng", providers: [.apt(["libpng-dev"]), .brew(["libpng"])]),
    .systemLibrary(
      name: "CLibJPEG", pkgConfig: "libjpeg", providers: [.apt(["libjpeg-dev"]), .brew(["jpeg-turbo"])]),
    .target(name: "CJPEG", dependencies: ["CLibJPEG"]),
    .target(name: "CKernels"),
    .target(name: "CRevision"),

    // MARK: - The device abstraction

    .target(name: "Kernels", dependencies: ["COpenCL", "COpenBLAS", "CKernels"]),
    .target(name: "Parity", dependencies: ["Kernels", "CKernels"]),

    // MARK: - The job

    .target(
      name: "PBE",
      dependencies: [
        "Kernels", "CZlib", "CPNG", "CJPEG", .product(name: "Yams", package: "Yams"),
        .product(name: "Mustache", package: "swift-mustache"),
      ],
      resources: [.embedInCode("Analysis/calibration.json")]),
    .executableTarget(
      name: "pbe-gpu",
      dependencies: [
        "PBE", "Kernels", "Parity", "CRevision",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Logging", package: "swift-log"),
      ]),

    // MARK: - Tests

    .testTarget(name: "KernelsTests", dependencies: ["Kernels", "Parity"]),
    .testTarget(
      name: "PBETests", dependencies: ["PBE", "Parity", "Kernels"], resources: [.copy("Fixtures")]),
    .testTarget(name: "CommandTests", dependencies: ["pbe-gpu", "PBE"]),
  ],
  swiftLanguageModes: [.v6],
  cLanguageStandard: .gnu17
)
