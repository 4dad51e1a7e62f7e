/// Every operator case, and the golden cases that are embedded in the program.
public enum ParityTable {
  /// The operators, each on the shapes and attributes that networks use, and on awkward ones.
  public static let operators: [OperatorCase] =
    convolutions + fusedConvolutions + matrixProducts + normalisation + activations + pooling + resampling
    + elementwise + scores + optimizers + attacks + triggers + data + chains

  /// ``operators`` and the embedded golden cases.
  public static var all: [OperatorCase] { operators + GoldenSet.embeddedCases }

  /// ``all`` by the first part of their names: the operator, `chain` or `golden`.
  public static let groups = Dictionary(grouping: all) { String($0.name.prefix { $0 != "/" }) }
}
