"""What a message is about."""

VIEW = "application/vnd.jupyter.widget-view+json"


def is_card(display: dict) -> bool:
    """Whether a display is part of a job's card: its text, or the widget."""
    display_id = display.get("transient", {}).get("display_id", "")
    return display_id.startswith("ipykill-") or VIEW in display["data"]
