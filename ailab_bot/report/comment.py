def render_comment(report):
    return "x"
