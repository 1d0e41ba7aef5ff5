"""The site's navigation, made once: Sphinx and its theme make it anew for every page, in a second each."""

import posixpath
import re

whole = []  # the navigation of the first page, with links from the site's root


def from_root(tree: str, page: str) -> str:
    "A page's navigation as one of the root's, in which no page is the present one."

    def link(m):
        if ':' in m[1]:
            return m[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(page), m[1]))
        return f'href="{path}"'

    tree = tree.replace('href="#"', f'href="{posixpath.basename(page)}.html"')
    tree = re.sub(r'href="([^"#]+)"', link, tree)
    tree = re.sub(r'class="([^"]*)\bcurrent ?', r'class="\1', tree)
    return tree.replace(' class=""', '').replace(' "', '"')


def of_page(tree: str, page: str) -> str:
    "The root's navigation as that of a page, which is marked in it, with the pages that it is under."
    link = f'<a class="reference internal" href="{page}.html">'
    end = tree.find(link)
    if end >= 0:
        before, after = tree[:end], tree[end + len(link) :]
        level = int(re.findall(r'toctree-l(\d)', before)[-1])
        for k in range(1, level + 1):
            head, tail = before.rsplit(f'toctree-l{k}"', 1)
            before = f'{head}toctree-l{k} current"{tail}'
        tree = f'{before}<a class="current reference internal" href="#">{after}'
    up = '../' * page.count('/')
    return re.sub(r'href="(?![^"]*:|#)', f'href="{up}', tree)


def made_once(app, page, template, context, doctree):
    "Instead of each page's own navigation give the theme the common one."
    if 'toctree' not in context:
        return
    own = context['toctree']

    def tree(**how):
        if not whole:
            whole.append(from_root(own(**how), page))
        return of_page(whole[0], page)

    context['toctree'] = tree
