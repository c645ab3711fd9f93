"""One self-contained HTML page with a viewer of trajectories.

Its parts:

elements    escaped pieces of HTML: paragraph, report_table, figure_html, Section
source      input of the viewer: tables of trajectories, which groups are shown, their packed form
build       the page
assets/     its frame, style and scripts (no library)
"""

from sg_pipeline.reporting.page.build import build_page
from sg_pipeline.reporting.page.elements import Section, paragraph
from sg_pipeline.reporting.page.source import ViewerSource

__all__ = ["Section", "ViewerSource", "build_page", "paragraph"]
