"""While the tests run, every function of the package is held against its signature, shapes included."""

from jaxtyping import install_import_hook

hook = install_import_hook("seqtrain", "typechecker.check")  # before anything of the package is imported

import torch  # noqa: E402

torch.set_num_threads(1)
