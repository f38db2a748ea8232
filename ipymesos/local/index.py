"""Fetch one file of a project from the user's package index, as pip is configured to reach it.

A program, run as `python -IB index.py PROJECT FILENAME DESTINATION`. The archive that we want is no sdist and no
wheel, so `pip download` gets it and then refuses it; what is asked of pip here is only what nobody should write
again: its index, find-links, proxy, certificates, credentials and cache. This uses pip's private modules (which were
the same in pip 23.0 to 26.3), all of them in `fetch`, and in a process of its own since they are not made for more.

Writes one JSON object to stdout: {"fetched": bool, "pip": version, "others": [file names], "problem": text}.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any


def fetch(project: str, filename: str, destination: Path) -> dict[str, Any]:
    """Write the file to `destination`, unverified. The answer is this program's output."""
    import pip
    from pip._internal.commands import create_command
    from pip._internal.index.collector import parse_links

    answer: dict[str, Any] = {"fetched": False, "pip": pip.__version__, "others": [], "problem": ""}
    links: dict[str, Any] = {}
    command: Any = create_command("download")
    options, _arguments = command.parse_args([project])
    with command.main_context():
        session = command.enter_context(command._build_session(options))
        collector = command._build_package_finder(options=options, session=session)._link_collector

        def read(page: Any) -> list[Any]:
            response = collector.fetch_response(page)
            if response is not None:
                links.update((link.filename, link) for link in parse_links(response))
            return []

        for folder in map(Path, options.find_links):
            if (folder / filename).is_file():
                shutil.copyfile(folder / filename, destination)
                return answer | {"fetched": True}
        sources = collector.collect_sources(project_name=project, candidates_from_page=read)
        for source in (*sources.find_links, *sources.index_urls):
            if source is not None:
                list(source.page_candidates())
        if filename not in links:
            return answer | {"others": sorted(links), "problem": "no index that pip is configured for has it"}
        url = links[filename].url_without_fragment
        if url.startswith("file:"):
            shutil.copyfile(links[filename].file_path, destination)
            return answer | {"fetched": True}
        response = session.get(url, headers={"Accept-Encoding": "identity"}, stream=True)
        response.raise_for_status()
        with destination.open("wb") as stream:
            for block in response.iter_content(1 << 20):
                stream.write(block)
    return answer | {"fetched": True}


def main() -> None:
    project, filename, destination = sys.argv[1:]
    try:
        answer = fetch(project, filename, Path(destination))
    except ImportError as error:  # no pip at all, or one whose private modules have moved
        answer = {"fetched": False, "problem": f"this Python has no pip that can be asked ({error})"}
    except Exception as error:  # whatever a private API may raise, the reader of our output can say what to do
        answer = {"fetched": False, "problem": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
