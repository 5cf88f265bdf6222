// The file that JupyterLab loads: a container of module federation, written by hand.
//
// JupyterLab calls `init` with the modules that it shares, and `get` for the extension, and nothing
// else. A bundler would need a build step, and add a copy of its own runtime, for no more than
// this. `plugin.js` and the files that it imports are plain modules, which the browser loads.
(() => {
  const here = document.currentScript.src;
  const NAMES = {
    application: "@jupyterlab/application",
    apputils: "@jupyterlab/apputils",
    console: "@jupyterlab/console",
    notebook: "@jupyterlab/notebook",
    settings: "@jupyterlab/settingregistry",
    statusbar: "@jupyterlab/statusbar",
    ui: "@jupyterlab/ui-components",
    widgets: "@lumino/widgets",
  };
  let scope = {};

  // As for singletons of module federation: the version that is loaded, or else the newest.
  async function shared(name) {
    const versions = Object.entries(scope[name] ?? {});
    versions.sort(([a, one], [b, other]) =>
      Number(Boolean(other.loaded)) - Number(Boolean(one.loaded)) ||
      b.localeCompare(a, undefined, { numeric: true }));
    if (!versions.length) throw new Error(`ipykill: this front end does not share ${name}`);
    return (await versions[0][1].get())();
  }

  (window._JUPYTERLAB ??= {}).ipykill = {
    init(shareScope) {
      scope = shareScope;
    },
    async get() {
      const { makePlugin } = await import(new URL("plugin.js", here));
      const modules = await Promise.all(
        Object.entries(NAMES).map(async ([key, name]) => [key, await shared(name)]));
      const plugin = makePlugin(Object.fromEntries(modules));
      return () => ({ __esModule: true, default: plugin });
    },
  };
})();
