"""How one stack of layers walks a sequence: one file a backbone. The contract is `contract.Backbone`."""
