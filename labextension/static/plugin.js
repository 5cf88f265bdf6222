// The extension: a status bar item, a sidebar, commands, notifications and settings.
//
// `Kernels` knows the kernels and their jobs, and notifies the other parts of changes. Some of the
// front end's services are optional: Notebook has no status bar, and one notebook on each page.

import { addCommands, load, NAMES } from "./commands.js";
import { Kernels } from "./kernels.js";
import { Notifier } from "./notify.js";
import { makeSidebar } from "./sidebar.js";
import { makeStatus } from "./status.js";

const ID = "ipykill:plugin";

function addStyle() {
  const link = document.createElement("link");
  link.rel = "stylesheet";
  link.href = new URL("style.css", import.meta.url);
  document.head.append(link);
}

export function makePlugin(modules) {
  const { application, apputils, notebook, console: consoles, settings, statusbar } = modules;
  const { Notification } = apputils;

  function activate(app, labShell, palette, notebooks, consolePanels, registry, statusBar) {
    addStyle();
    const { shell } = app;
    const kernels = new Kernels(shell, [notebooks, consolePanels].filter(Boolean));

    const show = () => {
      shell.expandRight?.(sidebar.id); // Notebook's `activateById` does not open it
      shell.activateById(sidebar.id);
    };
    const sidebar = makeSidebar(modules, kernels, (link) => load(link, Notification));
    // JupyterLab would give it 250 px, and measures it before its style sheet is loaded.
    if (labShell) sidebar.node.style.minWidth = "300px";
    shell.add(sidebar, "right", { rank: 700, type: "Background Jobs" });

    const status = makeStatus(modules, kernels, show);
    if (statusBar) {
      statusBar.registerStatusItem(ID, { item: status, align: "left", rank: 3 });
    } else {
      shell.add(status, "menu", { rank: 900 });
    }

    const reveal = (link, job) => {
      const [place] = kernels.placesOf(link);
      if (!place) return;
      shell.activateById(place.id);
      const cells = place.content?.widgets ?? [];
      const index = cells.findIndex(({ model }) => model.executionCount === job.cell);
      if (index >= 0) {
        place.content.activeCellIndex = index;
        place.content.scrollToCell?.(cells[index]);
      }
      show();
    };
    const options = { statusBar: true, notifyAfter: 10, notifyFailed: true, desktop: false };
    const notifier = new Notifier(Notification, kernels, options, reveal);

    addCommands(app.commands, notifier, kernels, notebooks, show, apputils);
    for (const name of NAMES) {
      palette?.addItem({ command: `ipykill:${name}`, category: "Background Jobs" });
    }

    const take = ({ composite }) => {
      Object.assign(options, composite);
      status.wanted = options.statusBar;
      status.draw();
    };
    registry?.load(ID).then((found) => {
      take(found);
      found.changed.connect(() => {
        const before = options.desktop;
        take(found);
        if (options.desktop && !before) notifier.askPermission();
      });
    }).catch((error) => console.error("ipykill: no settings", error));
  }

  return {
    id: ID,
    description: "Background jobs of ipykill: status, sidebar, commands and notifications.",
    autoStart: true,
    optional: [
      application.ILabShell,
      apputils.ICommandPalette,
      notebook.INotebookTracker,
      consoles.IConsoleTracker,
      settings.ISettingRegistry,
      statusbar.IStatusBar,
    ],
    activate,
  };
}
