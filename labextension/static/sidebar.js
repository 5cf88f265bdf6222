// The sidebar: the panel of the widgets, for the kernel of the current notebook or console.

const ICON = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" width="16">
  <path class="jp-icon3" fill="#616161"
    d="M4 4h9v2H4zM4 9h6v2H4zM4 14h5v2H4zM4 19h7v2H4zM12 9v12l9-6z"/>
</svg>`;

function element(tag, className, text = "") {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = text;
  return node;
}

// `load` loads ipykill in the kernel of a link.
export function makeSidebar({ ui, widgets }, kernels, load) {
  class Sidebar extends widgets.Widget {
    constructor() {
      super();
      this.id = "ipykill-sidebar";
      this.addClass("ipykill-sidebar");
      this.title.icon = new ui.LabIcon({ name: "ipykill:jobs", svgstr: ICON });
      this.title.caption = "Background Jobs";
      this.place = element("div", "ipykill-sidebar-place");
      this.body = element("div", "ipykill-sidebar-body");
      this.node.append(this.place, this.body);
      kernels.listeners.add((link) => this.draw(link));
    }

    onAfterShow() {
      this.draw(null);
    }

    onAfterAttach() {
      this.draw(null);
    }

    onAfterHide() {
      this.show_(null);
    }

    onActivateRequest() {
      this.node.querySelector(".ipykill-panel, button")?.focus();
    }

    // Does nothing while the sidebar is hidden.
    draw(changed) {
      const { link, current } = kernels;
      if (!this.isVisible || (changed && changed !== link)) return;
      const label = current?.title.label ?? "";
      if (this.place.textContent !== label) this.place.textContent = label;
      const shows = link?.panel ?? this.words(link, current);
      if (shows !== this.shows) this.show_(shows, link);
    }

    words(link, current) {
      if (!current) return "Open a notebook or a console to see its background jobs.";
      if (!link) return "This notebook has no kernel.";
      if (link.python === false) return "Background jobs are for Python kernels.";
      return link.python ? "ipykill is not loaded in this kernel." : "";
    }

    show_(shows, link = null) {
      this.shows = shows;
      this.close_?.();
      this.close_ = null;
      this.body.replaceChildren();
      if (shows && shows === link?.panel) {
        this.close_ = shows.drawPanel(this.body);
      } else if (shows) {
        const box = element("div", "ipykill-sidebar-words", shows);
        this.body.append(box);
        if (!link?.python) return;
        const button = element("button", "jp-mod-styled jp-mod-accept", "Load ipykill");
        button.addEventListener("click", () => load(link));
        box.append(button);
      }
    }
  }
  return new Sidebar();
}
