def __getattr__(name):
    "Names of the module that had this name before it was a package."
    from ..former import find

    return find('bench', name)
