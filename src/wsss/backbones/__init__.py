"""Networks under classifiers, and published weights under their own names."""

from wsss.runtime.compiler import postpone_compiler

postpone_compiler()  # before timm is imported
