"""Every function of the package is checked against the shapes on its signature while the tests run."""

from jaxtyping import install_import_hook

hook = install_import_hook("seqtrain", "beartype.beartype")  # before anything of the package is imported

import torch  # noqa: E402

torch.set_num_threads(1)
