extension DatasetKind {
  /// The classes' names in the order of their numbers; none for an image folder, whose own names they are.
  public var classNames: [String] {
    switch self {
    case .cifar10:
      ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    case .folder: []
    case .mnist: (0..<10).map(String.init)
    case .fashionMNIST:
      [
        "T-shirt or top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
        "ankle boot",
      ]
    case .gtsrb:
      [20, 30, 50, 60, 70, 80].map { "speed limit \($0)" } + ["end of speed limit 80"]
        + [100, 120].map { "speed limit \($0)" } + Self.otherSigns
    }
  }

  /// GTSRB's classes from 9 on.
  private static let otherSigns = [
    "no overtaking", "no overtaking by lorries", "priority at next crossing", "priority road", "give way",
    "stop",
    "no vehicles", "no lorries", "no entry", "general danger", "bend to the left", "bend to the right",
    "double bend", "uneven road", "slippery road", "road narrows on the right", "road works",
    "traffic lights",
    "pedestrians", "children", "bicycles", "ice or snow", "wild animals", "end of all limits",
    "turn right ahead",
    "turn left ahead", "ahead only", "ahead or right", "ahead or left", "keep right", "keep left",
    "roundabout",
    "end of no overtaking", "end of no overtaking by lorries",
  ]
}
