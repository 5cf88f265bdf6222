// The card of one job: a view of the model of all jobs, which js/card.js draws.

function deferred() {
  const it = {};
  it.promise = new Promise((resolve) => (it.resolve = resolve));
  return it;
}

export default {
  async render({ model, el }) {
    const id = model.get("model");
    // Some front ends make a model only when it is shown; this makes the model of all jobs.
    await Promise.resolve(model.widget_manager?.get_model?.(id)).catch(() => undefined);
    const panels = (globalThis[Symbol.for("ipykill.panels")] ??= new Map());
    if (!panels.has(id)) panels.set(id, deferred());
    const { drawCard } = await panels.get(id).promise;
    let end = drawCard(el, model.get("row"));
    const change = () => {
      end();
      end = drawCard(el, model.get("row")); // the cell's code runs again, as another job
    };
    model.on("change:row", change);
    return () => {
      model.off?.("change:row", change);
      end();
    };
  },
};
